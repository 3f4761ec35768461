//! The failures of an attempt.

use std::io::{self, ErrorKind};

use agentwire_codec::{DecodeError, FrameError};
use agentwire_transport::{Endpoint, Error as TransportError};

use crate::error::{Phase, ProtocolError};

/// The reason why an attempt received no answer. A call converts the failure of its last attempt
/// into an [`Error`](crate::Error).
#[derive(Debug)]
pub(in crate::client) enum Failure {
    /// The client or its channel is closed. If `sent` is true, the agent may have seen the request.
    Closed { sent: bool },
    /// No connection could be opened.
    Connect(TransportError),
    /// The connection ended before the whole request was written.
    Unsent(io::Error),
    /// The connection ended after the request was written and before the answer was received. The
    /// error is `None` if the peer closed the connection properly.
    Broken(Option<FrameError>),
    /// The peer violated the protocol.
    Protocol(ProtocolError),
    /// The deadline has passed.
    TimedOut(Phase),
}

impl Failure {
    /// Creates the failure of an attempt whose connection ended before the request was sent.
    pub(in crate::client) fn not_connected() -> Self {
        Self::Unsent(ErrorKind::NotConnected.into())
    }

    /// Returns whether the agent cannot have seen the request.
    pub(in crate::client) fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Closed { sent: false }
                | Self::Connect(_)
                | Self::Unsent(_)
                | Self::TimedOut(Phase::Resolving | Phase::Queueing | Phase::Connecting)
        )
    }
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Protocol(error.into())
    }
}

/// Returns the error for a connection attempt that timed out.
pub(in crate::client) fn connect_timed_out(endpoint: &Endpoint) -> TransportError {
    TransportError::Connect {
        endpoint: endpoint.clone(),
        source: ErrorKind::TimedOut.into(),
    }
}

/// Returns whether connecting may succeed later. For example, the server may be starting or
/// overloaded.
pub(in crate::client) fn is_transient(error: &TransportError) -> bool {
    let TransportError::Connect { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        ErrorKind::NotFound
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::UnexpectedEof
    )
}
