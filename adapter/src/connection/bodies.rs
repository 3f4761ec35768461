//! How much of an envelope a connection decodes.

use agentwire_codec::{DecodeError, Envelope, Format};

/// How the bodies of received envelopes are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// As the types that the protocol defines. Unknown keys are dropped.
    Typed,
    /// As maps with every key, to be passed on.
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
