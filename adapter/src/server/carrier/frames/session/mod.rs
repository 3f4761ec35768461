//! A session serves one connection.
//!
//! The table lists the layers from top to bottom. A layer may use only the layers below it.
//!
//! | layer | what it does |
//! |---|---|
//! | `session` | runs the session: one round after the other, until there is a reason to close |
//! | `handshake` | completes the handshake of the connection, or refuses the peer |
//! | `waits` | acts on the timeouts of the session |
//! | `requests` | reads frames and starts their requests |
//! | `refusals` | answers frames whose requests are never started |
//! | `decoding` | decodes a frame once there is memory for its values |
//! | `input_end` | tells a peer that has ended its input from one that has disconnected |
//! | `replies` | encodes and queues replies |
//! | `state` | what all of these layers share |

mod decoding;
mod handshake;
mod input_end;
mod refusals;
mod replies;
mod requests;
mod state;
mod waits;

use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

pub(super) use self::state::Session;
use super::{close_reason::CloseReason, turn::Turn};
use crate::server::shutdown::Stage;

impl Session {
    /// Serves the connection until it ends.
    ///
    /// `self` is boxed because the state machine of an async fn stores a `self` that is passed by
    /// value twice. Every wrapper of the future would also store `self` twice.
    pub(super) async fn run(mut self: Box<Self>) {
        tracing::debug!("connection opened");
        let reason = poll_fn(|cx| self.poll(cx)).await;
        tracing::debug!(%reason, "connection closed");
        self.slot.ends_with(reason.word());
        // Drop the requests before waiting for the peer.
        self.in_flight.clear();
        self.encoding = None;
        let Some(linger) = reason.linger(self.has_unread_replies) else {
            return;
        };
        let Self {
            connection,
            shutdown,
            ..
        } = *self;
        // The future is boxed so that idle connections do not reserve memory for it.
        Box::pin(async move {
            tokio::select! {
                biased;
                () = shutdown.aborted() => {}
                () = connection.close(linger) => {}
            }
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        if self.connection.needs_handshake() {
            if let Err(reason) = ready!(self.poll_handshake(cx)) {
                return Poll::Ready(reason);
            }
        }
        let mut turn = Turn::default();
        loop {
            self.traffic.report();
            // Flush at the start of each round. After the flush of the last round, no replies are
            // queued, because all requests are pending or the queue is full. If the queue is full,
            // the connection wakes the task.
            if let Poll::Ready(Err(error)) = self.connection.poll_flush(cx) {
                return Poll::Ready(CloseReason::WriteFailed(error));
            }
            // Less memory never exceeds the budget.
            let _ = self.account.set_replies(self.reply_memory());
            if turn.is_over() {
                break;
            }
            // Requests in flight have priority over new requests.
            let has_replied = self.poll_replies(cx);
            match self.poll_requests(cx, &mut turn) {
                Ok(has_read) if has_read || has_replied => {}
                Ok(_) => break,
                Err(reason) => return Poll::Ready(reason),
            }
        }
        if self.is_abandoned && !self.in_flight.is_empty() && self.has_queue_space() {
            // None of the requests has a reply that is ready. Dropping the requests leaves capacity
            // for the frames that have already arrived.
            self.in_flight.clear();
            cx.waker().wake_by_ref();
        }
        // Check the shutdown after reading, so that requests that have already arrived are
        // answered.
        match self.shutdown.poll(cx) {
            Stage::Aborted => return Poll::Ready(CloseReason::Aborted),
            // If the turn is over, more requests may have already arrived.
            Stage::Draining if !turn.is_over() || self.has_drained() => {
                self.closing.get_or_insert(CloseReason::Drained);
                if self.refuse_unfinished() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            Stage::Draining | Stage::Serving => {}
        }
        if !self.has_work() && self.connection.is_flushed() {
            if let Some(reason) = self.closing.take() {
                return Poll::Ready(reason);
            }
        }
        if turn.is_over() {
            cx.waker().wake_by_ref();
        }
        // A peer that sends without a pause must not escape from what ends its connection.
        self.poll_timeouts(cx, turn.is_over())
    }
}
