//! The ids that associate replies with requests.

use std::{borrow::Cow, fmt};

use agentwire_text::Untrusted;

use crate::text_writer::TextWriter;

/// The id of a request, which every reply to it repeats ([PROTOCOL 2.4]).
///
/// A canonical UUID is stored in 16 bytes without an allocation. Any other text is kept unchanged.
///
/// [PROTOCOL 2.4]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// A UUID in lower case with hyphens. A UUID in any other form is kept as text so that it can
    /// be written back unchanged.
    Uuid(u128),
    Text(Box<str>),
}

impl RequestId {
    /// Creates a random id, which is a version 4 UUID.
    ///
    /// The id is unique for all practical purposes, but it is predictable and must not serve as a
    /// secret. Generating an id makes no system call.
    #[must_use]
    pub fn random() -> Self {
        let random = fastrand::u128(..);
        let version_4 = (random & !(0xf << 76)) | (0x4 << 76);
        Self(Repr::Uuid((version_4 & !(0b11 << 62)) | (0b10 << 62)))
    }

    /// Returns the id that an error reply uses if the id of the request could not be read.
    #[must_use]
    pub fn unknown() -> Self {
        Self::from("unknown")
    }

    /// Returns the id in its wire form.
    #[must_use]
    pub fn to_text(&self) -> Cow<'_, str> {
        match &self.0 {
            Repr::Uuid(_) => Cow::Owned(self.to_string()),
            Repr::Text(text) => Cow::Borrowed(text),
        }
    }

    pub(crate) fn write(&self, writer: &mut impl TextWriter) {
        match &self.0 {
            Repr::Uuid(uuid) => writer.ascii_text(&uuid_text(*uuid)),
            Repr::Text(text) => writer.text(text),
        }
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        match parse_uuid(text.as_bytes()) {
            Some(uuid) => Self(Repr::Uuid(uuid)),
            None => Self(Repr::Text(text.into())),
        }
    }
}

impl From<String> for RequestId {
    fn from(text: String) -> Self {
        match parse_uuid(text.as_bytes()) {
            Some(uuid) => Self(Repr::Uuid(uuid)),
            None => Self(Repr::Text(text.into())),
        }
    }
}

/// Formats the id for logs: the text is escaped and truncated, because a peer may have chosen it.
/// [`to_text`](RequestId::to_text) returns the id unchanged.
impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // The bytes are hex digits and hyphens, so they are always UTF-8.
            Repr::Uuid(uuid) => {
                f.write_str(std::str::from_utf8(&uuid_text(*uuid)).unwrap_or_default())
            }
            Repr::Text(text) => Untrusted(text).fmt(f),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

fn uuid_text(uuid: u128) -> [u8; UUID_TEXT_LEN] {
    let mut text = [b'-'; UUID_TEXT_LEN];
    for (byte, position) in uuid.to_be_bytes().into_iter().zip(DIGIT_POSITIONS) {
        text[position] = HEX[usize::from(byte >> 4)];
        text[position + 1] = HEX[usize::from(byte & 0xf)];
    }
    text
}

fn parse_uuid(text: &[u8]) -> Option<u128> {
    let text: &[u8; UUID_TEXT_LEN] = text.try_into().ok()?;
    let mut bytes = [0; 16];
    // The value of a valid digit is below 16, so one check of the combined bits after the loop
    // covers every digit.
    let mut combined = 0;
    for (byte, position) in bytes.iter_mut().zip(DIGIT_POSITIONS) {
        let (high, low) = (
            HEX_DIGIT[usize::from(text[position])],
            HEX_DIGIT[usize::from(text[position + 1])],
        );
        combined |= high | low;
        *byte = high << 4 | low;
    }
    let hyphens = HYPHEN_POSITIONS
        .iter()
        .all(|&position| text[position] == b'-');
    (combined < 16 && hyphens).then(|| u128::from_be_bytes(bytes))
}

/// The positions of the hyphens in the text of a UUID.
const HYPHEN_POSITIONS: [usize; 4] = [8, 13, 18, 23];

const UUID_TEXT_LEN: usize = 36;

/// The position of the first hex digit of each byte in the text of a UUID.
const DIGIT_POSITIONS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The value of each lower-case hex digit, and 255 for any other byte.
const HEX_DIGIT: [u8; 256] = {
    let mut digits = [u8::MAX; 256];
    let mut digit = 0;
    while digit < HEX.len() {
        digits[HEX[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_round_trips() {
        for text in [
            "",
            "unknown",
            "7",
            "\u{1f980}",
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "67E55044-10b1-426f-9247-bb680e5fe0c8",
            "67e5504410b1-426f-9247-bb680e5fe0c8-",
            "67e55044-10b1-426f-9247-bb680e5fe0cg",
            "--------------------------------------",
        ] {
            assert_eq!(RequestId::from(text).to_string(), text);
        }
    }

    #[test]
    fn a_canonical_uuid_needs_no_allocation() {
        let id = RequestId::from("67e55044-10b1-426f-9247-bb680e5fe0c8");
        assert!(matches!(
            id.0,
            Repr::Uuid(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8)
        ));
    }

    #[test]
    fn a_random_id_is_a_uuid_of_version_4() {
        for _ in 0..100 {
            let text = RequestId::random().to_string();
            assert_eq!(text.len(), UUID_TEXT_LEN);
            assert_eq!(&text[14..15], "4", "{text}");
            assert!("89ab".contains(&text[19..20]), "{text}");
        }
        assert_ne!(RequestId::random(), RequestId::random());
    }
}
