use std::fmt;

/// The id of a request, which everything that answers it carries (PROTOCOL 2.4).
///
/// A canonical UUID is held in 16 bytes without an allocation; any other text is kept as it came.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    /// Written in lower case with hyphens, and only then: the text must survive a round trip.
    Uuid(u128),
    Text(Box<str>),
}

/// Where the hyphens stand in the text of a UUID.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];
const UUID_TEXT_LEN: usize = 36;

impl RequestId {
    /// A fresh id: a random UUID, version 4.
    ///
    /// It is unique for all practical purposes and not a secret. It costs no system call.
    #[must_use]
    pub fn random() -> Self {
        let random = fastrand::u128(..);
        let version_4 = (random & !(0xf << 76)) | (0x4 << 76);
        Self(Repr::Uuid((version_4 & !(0b11 << 62)) | (0b10 << 62)))
    }

    /// The id of an error about a frame whose own id could not be read.
    #[must_use]
    pub fn unknown() -> Self {
        Self::from("unknown")
    }

    /// Hands the text to `f` without allocating.
    pub(crate) fn with_str<T>(&self, f: impl FnOnce(&str) -> T) -> T {
        match &self.0 {
            Repr::Text(text) => f(text),
            Repr::Uuid(uuid) => {
                let text = uuid_text(*uuid);
                // The bytes are hex digits and hyphens, so they are always UTF-8.
                f(std::str::from_utf8(&text).unwrap_or_default())
            }
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

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|text| f.write_str(text))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|text| write!(f, "RequestId({text})"))
    }
}

fn uuid_text(uuid: u128) -> [u8; UUID_TEXT_LEN] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; UUID_TEXT_LEN];
    let mut position = 0;
    for byte in uuid.to_be_bytes() {
        if HYPHENS.contains(&position) {
            position += 1;
        }
        text[position] = HEX[usize::from(byte >> 4)];
        text[position + 1] = HEX[usize::from(byte & 0xf)];
        position += 2;
    }
    text
}

fn parse_uuid(text: &[u8]) -> Option<u128> {
    let text: &[u8; UUID_TEXT_LEN] = text.try_into().ok()?;
    let mut uuid = 0;
    for (position, &byte) in text.iter().enumerate() {
        let digit = match byte {
            b'-' if HYPHENS.contains(&position) => continue,
            _ if HYPHENS.contains(&position) => return None,
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        uuid = uuid << 4 | u128::from(digit);
    }
    Some(uuid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_a_round_trip() {
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
    fn a_fresh_id_is_a_uuid_of_version_4() {
        for _ in 0..100 {
            let text = RequestId::random().to_string();
            assert_eq!(text.len(), UUID_TEXT_LEN);
            assert_eq!(&text[14..15], "4", "{text}");
            assert!("89ab".contains(&text[19..20]), "{text}");
        }
        assert_ne!(RequestId::random(), RequestId::random());
    }
}
