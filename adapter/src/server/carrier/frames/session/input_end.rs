//! The end of the peer's input, after which the peer may still read.

use std::task::{Context, Poll};

use agentwire_transport::PeerState;

use super::state::Session;
use crate::server::carrier::frames::close_reason::CloseReason;

impl Session {
    /// Starts closing the session at the end of the peer's input. The requests in flight are
    /// answered first, unless the peer has disconnected.
    pub(super) fn input_ended(
        &mut self,
        cx: &mut Context<'_>,
        reason: CloseReason,
    ) -> Result<(), CloseReason> {
        self.closing = Some(reason);
        self.peer_ended(cx)
    }

    /// Waits for the end of the peer's input while the session has no capacity for the first frame.
    pub(super) fn poll_blocked(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
    ) -> Result<(), CloseReason> {
        self.is_blocked = true;
        if self.has_ended {
            return Ok(());
        }
        match self.connection.poll_end(cx, len) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => self.peer_ended(cx),
            Poll::Ready(Err(error)) => Err(CloseReason::ReadFailed(error.into())),
        }
    }

    /// Decides whether to finish the requests of a peer that has ended its input (PROTOCOL 6.7).
    fn peer_ended(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        self.has_ended = true;
        match self.connection.peer_state(cx) {
            PeerState::Closed => Err(self.closing.take().unwrap_or(CloseReason::PeerClosed)),
            PeerState::HalfClosed => Ok(()),
            _ => {
                self.is_abandoned = !self.config.half_close;
                Ok(())
            }
        }
    }

    /// Checks whether the peer has disconnected. Reading cannot detect a disconnect if unread bytes
    /// precede the end of the stream, or if the end has already been read.
    pub(super) fn check_peer(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        match self.connection.peer_state(cx) {
            PeerState::Closed => Err(CloseReason::PeerClosed),
            PeerState::Ended if !self.config.half_close && !self.is_abandoned => {
                self.is_abandoned = true;
                cx.waker().wake_by_ref();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
