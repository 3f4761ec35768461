//! The two ways to decode the body of an envelope.

use agentwire_codec::{DEFAULT_MEMORY_LIMIT, DecodeError, DecodeFault, Envelope, Format};

/// How the bodies of received envelopes are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bodies {
    /// Decode bodies into the types of the protocol. Unknown keys are dropped.
    Typed,
    /// Decode bodies into maps. All keys are kept, so that the bodies can be forwarded.
    Raw,
}

impl Bodies {
    /// Decodes an envelope in either format. Returns the envelope and the memory of its values,
    /// which is at most `max_memory`.
    pub(crate) fn decode_within(
        self,
        payload: &[u8],
        max_memory: usize,
    ) -> Result<(Envelope, usize), DecodeError> {
        let format = Format::detect(payload);
        match self {
            Self::Typed => format.decode_within(payload, max_memory),
            Self::Raw => format.decode_raw_within(payload, max_memory),
        }
    }

    /// Decodes a payload on this thread. Returns `None` if decoding may take more than a few
    /// milliseconds. The caller must then decode the payload on another thread.
    pub(crate) fn decode_inline(self, payload: &[u8]) -> Option<Result<Envelope, DecodeError>> {
        if payload.len() <= MAX_SMALL {
            let decoded = self.decode_within(payload, DEFAULT_MEMORY_LIMIT);
            return Some(decoded.map(|(envelope, _)| envelope));
        }
        if payload.len() > MAX_INLINE {
            return None;
        }
        // The memory that decoding uses is a measure of the work. The memory for a large text is
        // about as large as the text. The memory for many small values is several times as large as
        // their encoding.
        let max_memory = payload.len() + MAX_EXCESS_MEMORY;
        match self.decode_within(payload, max_memory) {
            Ok((envelope, _)) => Some(Ok(envelope)),
            Err(error) if matches!(error.fault(), DecodeFault::Memory { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// The maximum size of a payload that is always decoded inline.
pub(crate) const MAX_SMALL: usize = 64 * 1024;

/// The maximum size of a payload that may be decoded inline. Decoding a text of this size takes a
/// few milliseconds if all of its characters are escaped.
pub(crate) const MAX_INLINE: usize = 2 * 1024 * 1024;

/// The memory that inline decoding may use in addition to the length of the payload. The additional
/// memory is enough for about 10,000 values.
pub(crate) const MAX_EXCESS_MEMORY: usize = 512 * 1024;
