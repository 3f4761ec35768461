//! The trait that a format implements to encode envelopes.

use crate::{EncodeError, Integer, text_writer::TextWriter};

/// A writer for the values of an encoded payload.
///
/// The caller passes the length of each map and list, which MessagePack writes, and the index of
/// each entry and element, because JSON separates them with commas.
pub(crate) trait FormatWriter: TextWriter {
    fn begin_map(&mut self, len: usize) -> Result<(), EncodeError>;
    fn key(&mut self, index: usize, key: &str);
    /// Writes a key that is known at compile time.
    fn field(&mut self, index: usize, field: Field);
    fn end_map(&mut self);

    fn begin_list(&mut self, len: usize) -> Result<(), EncodeError>;
    fn element(&mut self, index: usize);
    fn end_list(&mut self);

    fn null(&mut self);
    fn bool(&mut self, flag: bool);
    fn integer(&mut self, integer: &Integer) -> Result<(), EncodeError>;
    fn float(&mut self, float: f64);
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError>;
}

/// A key of the protocol, encoded at compile time for every format. Each envelope has about ten
/// such keys.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    /// The key in JSON, with the separators before and after it.
    pub(crate) json: &'static str,
    /// The key in MessagePack, with the prefix that contains its length.
    pub(crate) msgpack: &'static [u8],
}

/// Creates the [`Field`] for a name, which must not need escapes in JSON.
macro_rules! field {
    ($name:literal) => {
        $crate::schema::Field {
            json: concat!(", \"", $name, "\": "),
            msgpack: const { &$crate::schema::fixstr::<{ 1 + $name.len() }>($name) },
        }
    };
}

pub(crate) use field;

/// Encodes text of at most 31 bytes in MessagePack. `LEN` is the encoded length, which includes the
/// marker byte.
pub(crate) const fn fixstr<const LEN: usize>(text: &str) -> [u8; LEN] {
    assert!(LEN == 1 + text.len() && text.len() < 32, "not short");
    let mut bytes = [0; LEN];
    bytes[0] = 0xa0 | text.len() as u8;
    let mut position = 1;
    while position < LEN {
        bytes[position] = text.as_bytes()[position - 1];
        position += 1;
    }
    bytes
}
