//! Escapes texts of peers in log lines.

use agentwire::transport::internal::Escaped;

/// Escapes the characters of a text that could change how a terminal shows the line. The text is
/// not cut.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        // `Escaped` cuts longer texts.
        let end = rest
            .char_indices()
            .nth(PIECE)
            .map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        escaped += &Escaped(piece).to_string();
        rest = after;
    }
    escaped
}

const PIECE: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_escaped_whole() {
        assert_eq!(escaped("a\n\u{1b}"), r"a\n\u{1b}");
        let long = "é".repeat(5000);
        assert_eq!(escaped(&long), long);
        assert_eq!(escaped(&format!("{long}\n")), format!(r"{long}\n"));
    }
}
