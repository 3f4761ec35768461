//! The beginning of a text, without escapes.

use std::borrow::Cow;

use crate::MAX_CHARS;

/// Returns a text, or its beginning and its length if it is longer than [`MAX_CHARS`].
///
/// For texts that are sent to another peer. To show a text to people, use
/// [`Untrusted`](crate::Untrusted).
#[must_use]
pub fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len())),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_texts_are_cut() {
        let longest = "\u{e9}".repeat(MAX_CHARS);
        assert_eq!(excerpt(&longest), longest);
        assert_eq!(
            excerpt(&format!("{longest}\n")),
            format!("{longest}… (401 bytes)")
        );
    }
}
