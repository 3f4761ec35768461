//! How a server violated the protocol.

use agentwire_codec::{DecodeError, FrameError};

/// How a server violated the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame holds no envelope.
    #[error(transparent)]
    Envelope(#[from] DecodeError),
    /// The envelope is of a type that does not answer the request.
    #[error("expected {expected} but got '{found}'")]
    Unexpected {
        /// What would have answered it.
        expected: &'static str,
        /// The type of the envelope.
        found: &'static str,
    },
}
