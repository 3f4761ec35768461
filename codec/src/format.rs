use crate::{DecodeError, DecodeFault, EncodeError, Envelope, Value, json, msgpack};

/// The deepest nesting that is read and written, the outermost map or list counted as 1.
pub const MAX_DEPTH: usize = 256;

/// How an envelope is written as bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JSON as CPython writes it (PROTOCOL 4), which every peer speaks.
    #[default]
    Json,
    /// MessagePack as Python's `msgpack` package writes it (PROTOCOL 10). It carries bytes, and no
    /// integers beyond 64 bits.
    MessagePack,
}

impl Format {
    /// The format that `payload` is in, by its first byte (PROTOCOL 10.2).
    ///
    /// What is neither is taken for JSON, whose reader then says what is wrong with it.
    #[must_use]
    pub fn detect(payload: &[u8]) -> Self {
        match payload.first() {
            Some(0x80..=0x8f | 0xde | 0xdf) => Self::MessagePack,
            _ => Self::Json,
        }
    }

    /// Appends the payload that carries `envelope`.
    ///
    /// # Errors
    ///
    /// An envelope that the format cannot carry. What was appended by then stays; within
    /// [`put_frame`](crate::put_frame) it is taken back.
    pub fn encode(self, envelope: &Envelope, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self {
            Self::Json => json::encode_envelope(envelope, buffer),
            Self::MessagePack => msgpack::encode_envelope(envelope, buffer),
        }
    }

    /// Reads the envelope that `payload` carries.
    ///
    /// # Errors
    ///
    /// A payload that is not an envelope. The error holds the id where it could be read.
    pub fn decode(self, payload: &[u8]) -> Result<Envelope, DecodeError> {
        match self {
            Self::Json => json::decode_envelope(payload),
            Self::MessagePack => msgpack::decode_envelope(payload),
        }
    }

    /// Reads `payload` as a plain value, whatever it means.
    ///
    /// # Errors
    ///
    /// [`DecodeFault::Syntax`] for bytes that are not of this format.
    pub fn decode_value(self, payload: &[u8]) -> Result<Value, DecodeFault> {
        match self {
            Self::Json => json::from_slice(payload),
            Self::MessagePack => msgpack::from_slice(payload),
        }
    }
}
