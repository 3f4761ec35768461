//! [`Untrusted`] and [`Escaped`], which display texts from peers escaped and truncated.

use std::fmt::{self, Write};

use crate::{MAX_CHARS, MAX_LINE_CHARS};

/// Displays a text that a peer chose, or a value whose `Display` output contains such a text, on
/// one line.
///
/// The `{}` output escapes all characters that could change how the rest of the line is read. Such
/// characters are control characters (including newlines and ESC), line and paragraph separators,
/// and Unicode format characters, which are invisible or change the direction of the text. The
/// `{:?}` output also encloses the text in quotes and escapes quotes and backslashes. A text with
/// more than [`MAX_CHARS`] characters is truncated and followed by an ellipsis and its length.
/// Formatting does not allocate and does not read the rest of a long text.
#[derive(Clone, Copy)]
pub struct Untrusted<T>(pub T);

/// Shows a line that has several texts of peers: escaped as [`Untrusted`] does, and cut only after
/// [`MAX_LINE_CHARS`] characters, because the parts of the line are cut themselves.
#[derive(Clone, Copy)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_alternate = f.alternate();
        let mut shown = Escaper::new(f, MAX_CHARS, false);
        shown.write_all(&self.0, is_alternate)?;
        shown.write_ellipsis()?;
        shown.write_len()
    }
}

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_alternate = f.alternate();
        let mut shown = Escaper::new(f, MAX_LINE_CHARS, false);
        shown.write_all(&self.0, is_alternate)?;
        shown.write_ellipsis()?;
        shown.write_len()
    }
}

impl<T: fmt::Display> fmt::Debug for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T: fmt::Display> fmt::Debug for Untrusted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut shown = Escaper::new(f, MAX_CHARS, true);
        shown.write_all(&self.0, false)?;
        shown.write_ellipsis()?;
        shown.output.write_char('"')?;
        shown.write_len()
    }
}

/// A writer that escapes the beginning of a text.
struct Escaper<'a, 'b> {
    output: &'a mut fmt::Formatter<'b>,
    is_quoted: bool,
    chars_left: usize,
    is_cut: bool,
    /// The length of the text in bytes.
    len: usize,
}

impl<'a, 'b> Escaper<'a, 'b> {
    fn new(output: &'a mut fmt::Formatter<'b>, max_chars: usize, is_quoted: bool) -> Self {
        Self {
            output,
            is_quoted,
            chars_left: max_chars,
            is_cut: false,
            len: 0,
        }
    }

    fn write_all(&mut self, text: impl fmt::Display, is_alternate: bool) -> fmt::Result {
        if is_alternate {
            write!(self, "{text:#}")
        } else {
            write!(self, "{text}")
        }
    }

    fn write_ellipsis(&mut self) -> fmt::Result {
        if self.is_cut {
            self.output.write_char('…')?;
        }
        Ok(())
    }

    fn write_len(&mut self) -> fmt::Result {
        if self.is_cut {
            write!(self.output, " ({} bytes)", self.len)?;
        }
        Ok(())
    }

    fn must_escape(&self, char: char) -> bool {
        is_unsafe(char) || self.is_quoted && matches!(char, '"' | '\\')
    }
}

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.len += text.len();
        let mut plain_from = 0;
        for (at, char) in text.char_indices() {
            if self.chars_left == 0 {
                self.is_cut = true;
                return self.output.write_str(&text[plain_from..at]);
            }
            self.chars_left -= 1;
            if self.must_escape(char) {
                self.output.write_str(&text[plain_from..at])?;
                plain_from = at + char.len_utf8();
                match char {
                    '\n' | '\r' | '\t' | '"' | '\\' => {
                        write!(self.output, "{}", char.escape_default())?;
                    }
                    other => write!(self.output, "{}", other.escape_unicode())?,
                }
            }
        }
        self.output.write_str(&text[plain_from..])
    }
}

/// Returns true if a character could change how the text around it is read. Such characters have
/// the Unicode categories Cc, Cf, Zl and Zp, or are private or invisible characters whose
/// appearance depends on the font.
fn is_unsafe(char: char) -> bool {
    if char.is_ascii() {
        return char.is_ascii_control();
    }
    matches!(char,
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' | '\u{f0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readable_text_of_any_script_is_shown_unchanged() {
        for text in [
            "",
            "weather-1.2/a_b",
            r#"it's a "quoted" C:\path"#,
            "天気予報\u{3000}サービス",
            "नमस्ते e\u{301} שלום 🌦",
            "unix:///run/a.sock",
        ] {
            assert_eq!(Untrusted(text).to_string(), text);
        }
    }

    #[test]
    fn what_could_forge_a_line_or_control_a_terminal_is_escaped() {
        for (text, expected) in [
            ("x\n2026 ERROR forged", r"x\n2026 ERROR forged"),
            ("\r\t\0", r"\r\t\u{0}"),
            ("\u{1b}[31mred\u{7}", r"\u{1b}[31mred\u{7}"),
            ("\u{7f}\u{9b}31m\u{85}", r"\u{7f}\u{9b}31m\u{85}"),
            ("a\u{2028}b\u{2029}c", r"a\u{2028}b\u{2029}c"),
            ("\u{202e}gpj.exe\u{2066}", r"\u{202e}gpj.exe\u{2066}"),
            (
                "\u{200b}\u{200f}\u{61c}\u{feff}",
                r"\u{200b}\u{200f}\u{61c}\u{feff}",
            ),
            ("\u{e0041}\u{e000}", r"\u{e0041}\u{e000}"),
        ] {
            assert_eq!(Untrusted(text).to_string(), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_its_length_is_shown() {
        let longest = "\u{e9}".repeat(MAX_CHARS);
        assert_eq!(Untrusted(&longest).to_string(), longest);
        let longer = format!("{longest}\u{1b}");
        assert_eq!(Escaped(&longer).to_string(), format!("{longest}\\u{{1b}}"));
        assert_eq!(
            Untrusted(&longer).to_string(),
            format!("{longest}… (401 bytes)")
        );
        assert_eq!(
            format!("{:?}", Untrusted(&longer)),
            format!("\"{longest}…\" (401 bytes)")
        );
    }

    #[test]
    fn the_debug_form_cannot_leave_its_quotes() {
        let name = r#"a" at tcp://b \"#;
        assert_eq!(format!("{:?}", Untrusted(name)), r#""a\" at tcp://b \\""#);
    }

    #[test]
    fn a_value_that_displays_its_text_in_pieces_is_cut_as_a_whole() {
        let pieces = format_args!("{}\n{}", "a".repeat(150), "b".repeat(150)).to_string();
        let expected = format!("{}\\n{}… (301 bytes)", "a".repeat(150), "b".repeat(49));
        assert_eq!(Untrusted(&pieces).to_string(), expected);
        let streamed =
            Untrusted(format_args!("{}\n{}", &pieces[..150], &pieces[151..])).to_string();
        assert_eq!(streamed, expected);
    }
}
