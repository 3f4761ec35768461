use bytes::BytesMut;

use crate::{DecodeError, DecodeFault, EncodeError, Envelope, Value, json};

/// How an envelope is written as bytes.
///
/// MessagePack will join as a second variant (PROTOCOL 10); match with a wildcard arm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// JSON as CPython writes it (PROTOCOL 4), which every peer speaks.
    #[default]
    Json,
}

impl Format {
    /// Appends the payload that carries `envelope`.
    ///
    /// # Errors
    ///
    /// An envelope that the format cannot carry. What was appended by then stays; within
    /// [`put_frame`](crate::put_frame) it is taken back.
    pub fn encode(self, envelope: &Envelope, buffer: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Json => json::encode_envelope(envelope, buffer),
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
        }
    }
}
