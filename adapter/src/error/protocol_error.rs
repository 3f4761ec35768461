use agentwire_codec::{DecodeError, FrameError};

/// How a server broke the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// What it sent is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// What the frame holds is not an envelope.
    #[error(transparent)]
    Envelope(#[from] DecodeError),
    /// The envelope is of a type that does not answer the request.
    #[error("expected {expected} but got '{found}'")]
    Unexpected {
        /// What would have been an answer.
        expected: &'static str,
        /// What came.
        found: &'static str,
    },
}
