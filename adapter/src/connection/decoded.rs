//! What a connection has encoded, decoded and received.

use agentwire_codec::{Body, DecodeError, EncodeError, Envelope, Format, RequestId};

/// The result of decoding a payload.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) format: Format,
    /// The length of the payload in bytes.
    pub(crate) len: usize,
    /// The memory of the decoded values, or 0 if the payload was not decoded.
    pub(crate) memory: usize,
    pub(crate) envelope: Result<Envelope, DecodeError>,
}

impl Decoded {
    pub(crate) fn new(payload: &[u8], decoded: Result<(Envelope, usize), DecodeError>) -> Self {
        let (envelope, memory) = match decoded {
            Ok((envelope, memory)) => (Ok(envelope), memory),
            Err(error) => (Err(error), 0),
        };
        Self {
            format: Format::detect(payload),
            len: payload.len(),
            memory,
            envelope,
        }
    }
}

/// The result of encoding an envelope.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) id: RequestId,
    /// The frame, or the error and the body that cannot be encoded. Only the body of an error is
    /// kept.
    pub(crate) frame: Result<Vec<u8>, (EncodeError, Option<Body>)>,
}

/// A value that a connection has received.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all values are envelopes")]
pub(crate) enum Received {
    Envelope(Envelope),
    /// A frame whose payload is not an envelope. The connection stays usable.
    Malformed(DecodeError),
    /// The end of the stream after a complete frame.
    End,
}

impl From<Result<Envelope, DecodeError>> for Received {
    fn from(envelope: Result<Envelope, DecodeError>) -> Self {
        match envelope {
            Ok(envelope) => Self::Envelope(envelope),
            Err(error) => Self::Malformed(error),
        }
    }
}
