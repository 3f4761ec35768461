//! Reads frames and starts their requests.

use std::task::{Context, Poll};

use agentwire_codec::{FrameError, HEADER_LEN};

use super::state::{Session, Starved};
use crate::{
    connection::Decoded,
    server::carrier::frames::{
        close_reason::CloseReason, dispatch::dispatch, in_flight::InFlight, turn::Turn,
    },
};

impl Session {
    /// Reads and starts requests until the turn is over or the session has no more capacity.
    /// Returns whether a frame was read.
    pub(super) fn poll_requests(
        &mut self,
        cx: &mut Context<'_>,
        turn: &mut Turn,
    ) -> Result<bool, CloseReason> {
        self.is_blocked = false;
        self.starved = None;
        let result = self.poll_frames(cx, turn);
        if self.starved.is_none() {
            self.account.leave();
        }
        result
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>, turn: &mut Turn) -> Result<bool, CloseReason> {
        let mut has_read = false;
        while !turn.is_over() {
            if self.discards_frame() {
                match self.connection.poll_discard(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => self.input_ended(cx, CloseReason::PeerClosed)?,
                    Poll::Ready(Err(error)) => return Err(CloseReason::ReadFailed(error.into())),
                }
                break;
            }
            if self.connection.is_decoding() {
                let Poll::Ready(decoded) = self.connection.poll_decoded(cx) else {
                    break;
                };
                has_read = true;
                self.account.release_received();
                self.dispatch(decoded, None, cx);
                continue;
            }
            if let Some(CloseReason::PeerClosed | CloseReason::ReadFailed(_)) = self.closing {
                break;
            }
            match self.connection.poll_frame(cx) {
                Poll::Pending => {
                    let Some(size) = self.connection.ungranted() else {
                        break;
                    };
                    if self.account.poll_receive(cx, size).is_pending() {
                        self.starve(Starved::Incomplete);
                        break;
                    }
                    self.connection.grant(size);
                }
                Poll::Ready(Ok(Some(len))) if !self.has_capacity() => {
                    self.poll_blocked(cx, len)?;
                    break;
                }
                Poll::Ready(Ok(Some(len))) => {
                    let Poll::Ready(decoded) = self.poll_decode(cx, turn, len) else {
                        break;
                    };
                    has_read = true;
                    turn.spend(len);
                    self.timeouts.frame_arrived();
                    // The peer sends requests without waiting for the previous replies.
                    self.has_unread_replies |= self.has_work() || self.connection.queued() > 0;
                    if let Some(decoded) = decoded {
                        self.dispatch(decoded, Some(len), cx);
                    }
                }
                Poll::Ready(Ok(None)) => {
                    self.input_ended(cx, CloseReason::PeerClosed)?;
                    break;
                }
                Poll::Ready(Err(FrameError::TooLarge { len, max })) => {
                    has_read = true;
                    turn.spend(0);
                    self.refuse_frame(len, max, None);
                }
                Poll::Ready(Err(FrameError::ForeignProtocol { protocol, len, max })) => {
                    has_read = true;
                    turn.spend(0);
                    self.refuse_frame(len, max, Some(protocol));
                }
                Poll::Ready(Err(error @ FrameError::Truncated { .. })) => {
                    self.input_ended(cx, CloseReason::ReadFailed(error))?;
                    break;
                }
                Poll::Ready(Err(error)) => return Err(CloseReason::ReadFailed(error)),
            }
        }
        Ok(has_read)
    }

    /// Returns whether the session can process another frame. Refusing a request requires only
    /// space in the queue.
    fn has_capacity(&self) -> bool {
        let is_full = self.in_flight.len() >= self.config.max_in_flight;
        (!is_full || self.is_stopping()) && self.has_queue_space()
    }

    /// Starts or refuses a decoded request. `buffered` is the length of its payload, if the payload
    /// is the first in the read buffer.
    fn dispatch(&mut self, decoded: Decoded, buffered: Option<usize>, cx: &mut Context<'_>) {
        let charge = self.account.charge(decoded.memory);
        let payload = buffered.map_or(&[][..], |len| self.connection.payload(len));
        let is_stopping = self.is_stopping();
        self.traffic.received(HEADER_LEN + decoded.len);
        let arrival = self.traffic.arrival(self.connection.received());
        let (service, caller) = (&*self.service, &self.caller);
        let dispatched = dispatch(service, caller, decoded, payload, is_stopping, arrival);
        if let Some(len) = buffered {
            self.connection.consume(len);
            self.release_received();
        }
        match dispatched {
            Ok(request) => {
                self.timeouts.request_accepted();
                self.start(request.with_charge(charge), cx);
            }
            Err(refusal) => {
                if let Some(reason) = refusal.reason {
                    self.report_refusal(reason);
                }
                self.queue(&refusal.reply);
            }
        }
    }

    /// Polls a new request once. Many requests are answered immediately, so they are never added to
    /// `in_flight`.
    fn start(&mut self, mut request: InFlight, cx: &mut Context<'_>) {
        match request.poll_reply(cx) {
            Poll::Ready(Some(reply)) => self.reply_to(request, reply),
            Poll::Ready(None) => {}
            Poll::Pending => self.in_flight.push(request.into_next()),
        }
    }
}
