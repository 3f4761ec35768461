//! The reasons why a session ends.

use std::{io, time::Duration};

use agentwire_codec::{ForeignProtocol, FrameError};
use agentwire_transport::{Error as TransportError, internal::Chain};

use crate::connection::Linger;

/// The reason why a session ends. The error texts are used in logs.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloseReason {
    #[error("peer closed the connection")]
    PeerClosed,
    #[error("server stopped and every request was answered")]
    Drained,
    #[error("server stopped before a whole frame had arrived")]
    StoppedInsideFrame,
    #[error("server aborted")]
    Aborted,
    #[error("certificate of the peer expired")]
    CertificateExpired,
    #[error("evicted for a new connection at the limit of connections")]
    Evicted,
    #[error("timed out: {0}")]
    Timeout(&'static str),
    #[error("{}", Chain(&**.0))]
    HandshakeFailed(Box<TransportError>),
    #[error("frame of {len} bytes exceeds the limit of {max}")]
    FrameTooLarge { len: usize, max: usize },
    #[error("peer sent {0} instead of frames")]
    ForeignProtocol(ForeignProtocol),
    #[error("reading failed: {0}")]
    ReadFailed(FrameError),
    #[error("writing failed: {0}")]
    WriteFailed(io::Error),
}

impl CloseReason {
    /// Returns the reason as a word for observers.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::PeerClosed => "peer_closed",
            Self::Drained | Self::StoppedInsideFrame => "stopped",
            Self::Aborted => "aborted",
            Self::CertificateExpired => "certificate_expired",
            Self::Evicted => "evicted",
            Self::Timeout(_) => "timeout",
            Self::HandshakeFailed(_) => "handshake",
            Self::FrameTooLarge { .. } => "frame_size",
            Self::ForeignProtocol(_) => "protocol",
            Self::ReadFailed(_) | Self::WriteFailed(_) => "io",
        }
    }

    /// Returns whether the session has refused a frame and discards all further input.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::HandshakeFailed(_)
                | Self::FrameTooLarge { .. }
                | Self::ForeignProtocol(_)
                | Self::StoppedInsideFrame
        )
    }

    /// Returns how long the connection stays open so that the peer can read the last replies.
    /// Returns `None` if the connection must be dropped immediately.
    ///
    /// `has_unread_replies` is true if the peer may not have read all replies. If the peer sends a
    /// request after the connection is dropped, the operating system resets the connection, and the
    /// peer loses unread replies.
    pub(super) fn linger(&self, has_unread_replies: bool) -> Option<Linger> {
        match self {
            // The peer may still be sending the refused frame, or its first request after a
            // handshake that the server has refused.
            Self::HandshakeFailed(_) | Self::FrameTooLarge { .. } | Self::ForeignProtocol(_) => {
                Some(Linger {
                    total: AFTER_REFUSAL,
                    quiet: AFTER_REFUSAL,
                })
            }
            // The peer may still be sending the refused frame.
            Self::StoppedInsideFrame => Some(Linger {
                total: AFTER_DRAIN,
                quiet: QUIET_AFTER_DRAIN,
            }),
            Self::Drained | Self::CertificateExpired if has_unread_replies => Some(Linger {
                total: AFTER_DRAIN,
                quiet: QUIET_AFTER_DRAIN,
            }),
            // Only bytes that have already arrived need to be discarded.
            Self::Drained | Self::CertificateExpired => Some(Linger {
                total: Duration::ZERO,
                quiet: Duration::ZERO,
            }),
            Self::PeerClosed
            | Self::Aborted
            | Self::Evicted
            | Self::Timeout(_)
            | Self::ReadFailed(_)
            | Self::WriteFailed(_) => None,
        }
    }
}

/// The time that a peer has to read the error after its frame was refused.
const AFTER_REFUSAL: Duration = Duration::from_secs(2);

/// The maximum time for which a stopping server discards the input of a peer. The shutdown timeout
/// also limits this time.
const AFTER_DRAIN: Duration = Duration::from_secs(30);

/// The time for which a stopping server waits for more bytes of a peer before it drops the
/// connection. The operating system still delivers the replies, unless the peer sends more
/// requests.
const QUIET_AFTER_DRAIN: Duration = Duration::from_secs(5);
