//! Why a session ends, and how its connection is closed.

use std::{io, time::Duration};

use agentwire_codec::{ForeignProtocol, FrameError};

/// Why a session ends. The texts are for logs.
#[derive(Debug, thiserror::Error)]
pub(super) enum CloseReason {
    #[error("peer closed it")]
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
    /// Returns whether the session refused the bytes in front, so that what follows them is
    /// discarded.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::FrameTooLarge { .. } | Self::ForeignProtocol(_))
    }

    /// Returns how long to discard what the peer still sends, so that it can read the last reply;
    /// `None` if the connection is dropped at once.
    pub(super) fn linger(&self) -> Option<Duration> {
        match self {
            // The peer may still be sending the rest of the frame.
            Self::FrameTooLarge { .. } | Self::ForeignProtocol(_) => Some(LINGER),
            // All replies are written. Only bytes that have already arrived need discarding.
            Self::Drained => Some(Duration::ZERO),
            Self::PeerClosed
            | Self::Aborted
            | Self::Timeout(_)
            | Self::ReadFailed(_)
            | Self::WriteFailed(_) => None,
        }
    }
}

/// How long a peer that sent an oversize frame has to read the error about it.
const LINGER: Duration = Duration::from_secs(2);
