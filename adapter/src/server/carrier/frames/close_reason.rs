//! The reasons why a session ends, and how the connection is then closed.

use std::{io, time::Duration};

use agentwire_codec::{ForeignProtocol, FrameError};

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
    /// reply. Returns `None` if the connection is to be dropped immediately.
    pub(super) fn linger(&self) -> Option<Duration> {
        match self {
            // The peer may still be sending the rest of the frame.
            Self::FrameTooLarge { .. } | Self::ForeignProtocol(_) => Some(LINGER),
            // All replies are written, so only bytes that have already arrived must be discarded.
            Self::Drained => Some(Duration::ZERO),
            Self::PeerClosed
            | Self::Aborted
            | Self::Timeout(_)
            | Self::ReadFailed(_)
            | Self::WriteFailed(_) => None,
        }
    }
}

/// How long a peer that has sent an oversized frame has to read the error.
const LINGER: Duration = Duration::from_secs(2);
