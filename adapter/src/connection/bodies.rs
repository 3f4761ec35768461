//! The two ways in which a connection decodes envelopes.

use agentwire_codec::{DecodeError, DecodeFault, Envelope, Format};

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

    /// Decodes a payload on this thread, unless that may take more than some milliseconds. Then it
    /// returns `None`, and the payload must be decoded on another thread.
    pub(crate) fn decode_inline(self, payload: &[u8]) -> Option<Result<Envelope, DecodeError>> {
        if payload.len() <= MAX_SMALL {
            return Some(self.decode(payload));
        }
        if payload.len() > MAX_INLINE {
            return None;
        }
        // Memory is a measure of the work: a large text takes as much memory as bytes, and many
        // small values take many times as much.
        let max_memory = payload.len() + MAX_EXCESS_MEMORY;
        let format = Format::detect(payload);
        let decoded = match self {
            Self::Typed => format.decode_within(payload, max_memory),
            Self::Raw => format.decode_raw_within(payload, max_memory),
        };
        match decoded {
            Ok((envelope, _)) => Some(Ok(envelope)),
            Err(error) if matches!(error.fault(), DecodeFault::Memory { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// A payload of this size is decoded inline, whatever its values are.
const MAX_SMALL: usize = 64 * 1024;

/// A larger payload is never decoded inline: text of this size takes some milliseconds if all of it
/// is escaped.
const MAX_INLINE: usize = 2 * 1024 * 1024;

/// The memory beyond the length of a payload that an inline decoding may use: about 10,000 values.
const MAX_EXCESS_MEMORY: usize = 512 * 1024;
