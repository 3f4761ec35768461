//! The timestamp of an envelope.

use std::fmt;

use crate::{Timestamp, text_writer::TextWriter};

/// The timestamp of an envelope: a [`Timestamp`], or any other text ([PROTOCOL 5.5]).
///
/// [PROTOCOL 5.5]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#5-timestamps
#[derive(Clone, PartialEq, Eq)]
pub struct SentAt(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    /// A timestamp whose text form is identical to the text that it was read from.
    Time(Timestamp),
    Text(Box<str>),
}

impl SentAt {
    /// Returns the current time.
    #[must_use]
    pub fn now() -> Self {
        Self(Repr::Time(Timestamp::now()))
    }

    /// Returns the timestamp, or `None` if the text is not a valid timestamp.
    #[must_use]
    pub fn timestamp(&self) -> Option<Timestamp> {
        match &self.0 {
            Repr::Time(time) => Some(*time),
            Repr::Text(text) => text.parse().ok(),
        }
    }

    pub(crate) fn write(&self, writer: &mut impl TextWriter) {
        match &self.0 {
            Repr::Time(time) => writer.ascii_text(time.to_text().as_bytes()),
            Repr::Text(text) => writer.text(text),
        }
    }
}

impl From<&str> for SentAt {
    fn from(text: &str) -> Self {
        match Timestamp::from_canonical(text) {
            Some(time) => Self(Repr::Time(time)),
            None => Self(Repr::Text(text.into())),
        }
    }
}

impl From<Timestamp> for SentAt {
    fn from(time: Timestamp) -> Self {
        Self(Repr::Time(time))
    }
}

impl fmt::Display for SentAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Time(time) => fmt::Display::fmt(time, f),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for SentAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Time(time) => fmt::Debug::fmt(time, f),
            Repr::Text(text) => fmt::Debug::fmt(text, f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_round_trips() {
        for text in [
            "",
            "yesterday",
            "2025-11-08T12:34:56Z",
            "2025-11-08T12:34:56.5+00:00",
        ] {
            assert_eq!(SentAt::from(text).to_string(), text);
        }
        assert!(SentAt::from("2025-11-08T12:34:56Z").timestamp().is_some());
        assert!(SentAt::from("yesterday").timestamp().is_none());
    }
}
