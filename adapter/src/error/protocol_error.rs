//! A violation of the protocol by a server.

use agentwire_codec::{DecodeError, FrameError};

/// A violation of the protocol by a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The received bytes are not a valid frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame does not contain a valid envelope.
    #[error(transparent)]
    Envelope(#[from] DecodeError),
    /// The type of the envelope does not match the request.
    #[error("expected {expected} but got '{found}'")]
    Unexpected {
        /// The answer that was expected.
        expected: &'static str,
        /// The type of the received envelope.
        found: &'static str,
    },
    /// The server does not speak gRPC, or violates its rules.
    #[cfg(feature = "grpc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "grpc")))]
    #[error(
        "not an answer of gRPC: {}",
        agentwire_transport::internal::Untrusted(problem)
    )]
    Grpc {
        /// The violated rule.
        problem: String,
    },
}
