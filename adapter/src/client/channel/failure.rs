//! The failures of an attempt.

use std::io::{self, ErrorKind};

#[cfg(feature = "grpc")]
use agentwire_codec::EncodeError;
use agentwire_codec::{DecodeError, FrameError};
use agentwire_transport::{Endpoint, Error as TransportError, TlsError};

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
    /// The carrier cannot represent the request.
    #[cfg(feature = "grpc")]
    Encode(EncodeError),
    /// The deadline has passed.
    TimedOut(Phase),
}

impl Failure {
    /// Creates the failure of an attempt whose connection ended before the request was sent.
    pub(in crate::client) fn not_connected() -> Self {
        Self::Unsent(ErrorKind::NotConnected.into())
    }

    /// Returns the failure of a connection on which nothing has been received.
    ///
    /// In TLS 1.3, only the first read shows that the server has refused the handshake, for example
    /// the certificate of the client. The server has then not read the request.
    pub(super) fn before_first_answer(self, endpoint: &Endpoint) -> Self {
        let refusal = match &self {
            Self::Unsent(error) | Self::Broken(Some(FrameError::Io(error))) => refusal(error),
            _ => None,
        };
        match refusal {
            Some(source) => Self::Connect(TransportError::Tls {
                endpoint: endpoint.clone(),
                source,
            }),
            None => self,
        }
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

/// Returns why the server has refused the handshake, if that is the cause of an error.
pub(super) fn refusal(error: &io::Error) -> Option<TlsError> {
    let problem = error.get_ref()?.downcast_ref::<TlsError>()?;
    let is_refusal = matches!(
        problem,
        TlsError::Refused(_) | TlsError::Version | TlsError::Protocol
    );
    is_refusal.then(|| problem.clone())
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
    let source = match error {
        TransportError::Connect { source, .. } => source,
        TransportError::WebSocket { source, .. } => return source.is_transient(),
        TransportError::Tls { source, .. } => {
            return matches!(source, TlsError::Closed | TlsError::TimedOut);
        }
        _ => return false,
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
