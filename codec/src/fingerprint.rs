//! Fingerprints, which show whether private values are equal without showing the values.

use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::LazyLock,
};

/// A short hash that replaces a private value in debug output, such as `#1f3a90c2`.
///
/// Within one process, equal values have equal fingerprints. The hash uses a random key that never
/// leaves the process, so a reader of the log cannot confirm a guess of the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u32);

impl Fingerprint {
    pub(crate) fn of<T: Hash + ?Sized>(value: &T) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        // 32 of the 64 bits are enough to tell values apart and are easier to read.
        Self(KEY.hash_one(value) as u32)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:08x}", self.0)
    }
}

/// Private text. `{:?}` shows its length and fingerprint, and `{:#?}` shows the text itself.
pub(crate) struct PrivateText<'a>(pub(crate) &'a str);

impl fmt::Debug for PrivateText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        if f.alternate() {
            fmt::Debug::fmt(text, f)
        } else {
            write!(f, "text({}){}", text.len(), Fingerprint::of(*text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_equal_fingerprints_and_others_do_not() {
        let texts: Vec<String> = (0..100).map(|i| format!("text {i}")).collect();
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate() {
                assert_eq!(Fingerprint::of(a) == Fingerprint::of(b), i == j);
            }
        }
    }

    #[test]
    fn private_text_is_shown_only_on_request() {
        let text = PrivateText("hunter2");
        let outline = format!("{text:?}");
        assert!(outline.starts_with("text(7)#"), "{outline}");
        assert_eq!(format!("{text:#?}"), r#""hunter2""#);
    }
}
