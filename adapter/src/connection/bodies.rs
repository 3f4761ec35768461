//! The two ways in which a connection decodes envelopes.

use agentwire_codec::{DecodeError, Envelope, Format};

/// How the bodies of received envelopes are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// Bodies are decoded into the types that the protocol defines. Unknown keys are dropped.
    Typed,
    /// Bodies are decoded into maps that keep every key, so that they can be forwarded.
    Raw,
}

impl Bodies {
    /// Decodes the envelope in a payload of either format.
    pub(crate) fn decode(self, payload: &[u8]) -> Result<Envelope, DecodeError> {
        let format = Format::detect(payload);
        match self {
            Self::Typed => format.decode(payload),
            Self::Raw => format.decode_raw(payload),
        }
    }
}
