//! Escaping of untrusted text for terminal output.

/// Escapes control characters, invisible characters and bidirectional formatting characters in
/// `text`.
///
/// Names and error texts are sent by peers. Such texts must not contain line breaks, control the
/// terminal, or look like a different name.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        if c.is_control() || is_invisible(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

/// Returns true if a character has no visible glyph. Such characters are direction marks,
/// zero-width characters, fillers, tags, and the line and paragraph separators, which some programs
/// treat as line breaks.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_other_characters_are_kept() {
        assert_eq!(
            one_line("é \"a\"\r\nb\u{1b}[2J\u{2028}c 天気 🌦\n\n"),
            r#"é "a"\r\nb\u{1b}[2J\u{2028}c 天気 🌦"#
        );
    }

    #[test]
    fn invisible_and_bidirectional_characters_are_escaped() {
        for c in [
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2066}',
            '\u{feff}',
            '\u{ad}',
            '\u{e0041}',
        ] {
            let shown = one_line(&format!("we{c}ather"));
            assert_eq!(shown, format!("we{}ather", c.escape_unicode()));
        }
    }
}
