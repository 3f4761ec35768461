//! The reasons why a session ends, and how the connection is then closed.

use std::{io, time::Duration};

use agentwire_codec::{ForeignProtocol, FrameError};

use crate::connection::Linger;

/// The reason why a session ends. The texts are used in logs.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloseReason {
    #[error("peer closed the connection")]
    PeerClosed,
    #[error("server stopped and every request was answered")]
    Drained,
    #[error("server aborted")]
    Aborted,
    #[error("timed out: {0}")]
    Timeout(&'static str),
    #[error("frame of {len} bytes exceeds the limit of {max}")]
    FrameTooLarge { len: usize, max: usize },
    #[error("peer sent {0} and not frames")]
    ForeignProtocol(ForeignProtocol),
    #[error("reading failed: {0}")]
    ReadFailed(FrameError),
    #[error("writing failed: {0}")]
    WriteFailed(io::Error),
}

impl CloseReason {
    /// Returns whether the session has refused the received bytes, so that all further input is
    /// discarded.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::FrameTooLarge { .. } | Self::ForeignProtocol(_))
    }

    /// Returns how long to discard the peer's input, so that the peer can still read the last
    /// replies. Returns `None` if the connection is to be dropped immediately.
    ///
    /// `has_unread_replies` says that the peer may not have read all replies. If such a peer sends
    /// a request after the connection was dropped, the system answers with a reset, and the peer
    /// loses the replies.
    pub(super) fn linger(&self, has_unread_replies: bool) -> Option<Linger> {
        match self {
            // The peer may still be sending the rest of the frame.
            Self::FrameTooLarge { .. } | Self::ForeignProtocol(_) => Some(Linger {
                total: AFTER_REFUSAL,
                quiet: AFTER_REFUSAL,
            }),
            Self::Drained if has_unread_replies => Some(Linger {
                total: AFTER_DRAIN,
                quiet: QUIET_AFTER_DRAIN,
            }),
            // Only bytes that have already arrived must be discarded.
            Self::Drained => Some(Linger {
                total: Duration::ZERO,
                quiet: Duration::ZERO,
            }),
            Self::PeerClosed
            | Self::Aborted
            | Self::Timeout(_)
            | Self::ReadFailed(_)
            | Self::WriteFailed(_) => None,
        }
    }
}

/// How long a peer that has sent an oversized frame has to read the error.
const AFTER_REFUSAL: Duration = Duration::from_secs(2);

/// How long a stopping server discards what a peer sends. The shutdown timeout ends the wait as
/// well.
const AFTER_DRAIN: Duration = Duration::from_secs(30);

/// How long a stopping server waits for the next bytes of a peer before it drops the connection.
/// The system then still delivers the replies, unless the peer sends more requests.
const QUIET_AFTER_DRAIN: Duration = Duration::from_secs(5);
