/// The text with its control characters escaped.
///
/// Error texts come from remote agents. They must stay on one line, and must not be able to send
/// commands to a terminal.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        // The two are line breaks to some readers, though not control characters.
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_all_else_stays() {
        assert_eq!(
            one_line("é \"a\"\r\nb\u{1b}[2J\u{2028}c\n\n"),
            r#"é "a"\r\nb\u{1b}[2J\u{2028}c"#
        );
    }
}
