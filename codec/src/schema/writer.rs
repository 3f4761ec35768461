use crate::{EncodeError, Integer};

/// Where a format writes.
///
/// Entries and elements are announced with their index, because some formats separate them and others
/// count them beforehand.
pub(crate) trait FormatWriter {
    fn begin_map(&mut self, len: usize) -> Result<(), EncodeError>;
    fn key(&mut self, index: usize, key: &str);
    /// A key that is known beforehand.
    fn field(&mut self, index: usize, field: Field);
    fn end_map(&mut self);

    fn begin_list(&mut self, len: usize) -> Result<(), EncodeError>;
    fn element(&mut self, index: usize);
    fn end_list(&mut self);

    fn null(&mut self);
    fn bool(&mut self, flag: bool);
    fn integer(&mut self, integer: &Integer) -> Result<(), EncodeError>;
    fn float(&mut self, float: f64);
    fn text(&mut self, text: &str);
    /// Text of printable ASCII, without quotes and backslashes.
    fn plain(&mut self, text: &[u8]);
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError>;
}

/// A key of the protocol, already as the formats write it, because every envelope has about ten.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    /// With the separators of JSON on both sides.
    pub(crate) json: &'static str,
    /// With the length that MessagePack puts in front.
    pub(crate) msgpack: &'static [u8],
}

/// The [`Field`] of a name that JSON need not escape.
macro_rules! field {
    ($name:literal) => {
        $crate::schema::Field {
            json: concat!(", \"", $name, "\": "),
            msgpack: const { &$crate::schema::fixstr::<{ 1 + $name.len() }>($name) },
        }
    };
}

pub(crate) use field;

/// Text of at most 31 bytes in MessagePack. `LEN` counts the byte in front, too.
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
