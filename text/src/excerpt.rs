//! Truncation of texts without escapes.

use std::borrow::Cow;

use crate::MAX_CHARS;

/// Returns a text unchanged, or its beginning and its length if the text has more than
/// [`MAX_CHARS`] characters.
///
/// Use this function for texts that are sent to a peer. To display a text to users, use
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
