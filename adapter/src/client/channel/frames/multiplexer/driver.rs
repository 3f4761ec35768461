//! The task that reads from and writes to a shared connection on behalf of its callers.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_codec::FrameError;
use agentwire_transport::{Endpoint, internal::Chain};
use bytes::Bytes;
use tokio::time::Instant;
use tracing::field;

use super::{in_flight::Written, shared::Shared};
use crate::{
    client::channel::idle_limit::IdleLimit,
    client::stats::{Counters, OpenConnection},
    connection::{FramedConnection, Received},
    deadline_timer::DeadlineTimer,
};

/// The state of the driver task of one connection.
pub(super) struct Driver {
    connection: FramedConnection,
    shared: Arc<Shared>,
    idle_limit: Arc<IdleLimit>,
    counters: Arc<Counters>,
    open: OpenConnection,
    /// The unwritten part of a large frame.
    large: Bytes,
    /// Whether the driver has yielded to the callers since the last write.
    has_yielded: bool,
    idle_since: Option<Instant>,
    /// The start of the last idle period, or `None` once an answer has arrived after that period.
    last_idle_since: Option<Instant>,
    timer: DeadlineTimer,
}

/// The reason why a driver ends.
enum End {
    Idle,
    Lost(Option<FrameError>),
}

impl Driver {
    pub(super) fn new(
        connection: FramedConnection,
        shared: Arc<Shared>,
        idle_limit: Arc<IdleLimit>,
        counters: Arc<Counters>,
        endpoint: &Endpoint,
    ) -> Self {
        let open = counters.opened(endpoint);
        Self {
            connection,
            shared,
            idle_limit,
            counters,
            open,
            large: Bytes::new(),
            has_yielded: false,
            idle_since: None,
            last_idle_since: None,
            timer: DeadlineTimer::default(),
        }
    }

    pub(super) async fn run(mut self) {
        match poll_fn(|cx| self.poll(cx)).await {
            End::Idle => self.end(None),
            End::Lost(error) => {
                let cause = error.as_ref().map(|error| field::display(Chain(error)));
                tracing::debug!(cause, "connection lost");
                self.open.lost();
                self.counters.lost();
                // The server may have closed the idle connection while a request was in transit.
                if let Some(since) = self.idle_since.or(self.last_idle_since) {
                    let now = Instant::now();
                    self.idle_limit.server_closed_after(now - since, now);
                }
                self.end(error.as_ref());
            }
        }
    }

    fn end(&self, error: Option<&FrameError>) {
        // Large frames bypass the write buffer, so `written` counts only small frames.
        let written = Written {
            small: self.connection.written(),
            is_large_pending: !self.large.is_empty(),
        };
        self.shared.end(error, written);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // The waker is registered first, so that every frame that is queued later wakes this task.
        self.shared.register_driver(cx.waker());
        if let Poll::Ready(end) = self.poll_read(cx) {
            return Poll::Ready(end);
        }
        // Callers often make another call as soon as they receive their answers. The driver yields
        // once, so that a single write can send the frames of several calls. If only one call is in
        // flight, the driver does not yield.
        if !self.has_yielded && self.shared.in_flight() > 1 {
            self.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_yielded = false;
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            // The peer may have sent answers before it closed the connection.
            return match self.poll_read(cx) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => Poll::Ready(End::Lost(Some(error.into()))),
            };
        }
        self.poll_idle(cx)
    }

    /// Delivers the answers that have arrived. Returns `Ready` when the connection has ended.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let before = self.connection.received();
            let received = self.connection.poll_receive(cx);
            self.counters.received(self.connection.received() - before);
            match ready!(received) {
                Ok(Received::Envelope(envelope)) => {
                    self.last_idle_since = None;
                    self.shared.deliver(&envelope.id, envelope.body);
                }
                Ok(Received::Malformed(error)) => self.shared.deliver_fault(error),
                Ok(Received::End) => return Poll::Ready(End::Lost(None)),
                Err(error) => return Poll::Ready(End::Lost(Some(error))),
            }
        }
    }

    /// Writes all queued frames. Returns `Ready` once all frames are written or writing fails.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // Each iteration writes all queued small frames and then one large frame.
            ready!(self.connection.poll_flush(cx))?;
            if !self.large.is_empty() {
                ready!(self.connection.poll_write_frame(cx, &mut self.large))?;
            }
            let large = self.shared.take_frames(self.connection.write_buffer_mut());
            self.large = large.unwrap_or_default();
            if self.connection.queued() == 0 && self.large.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Returns `Ready` once the connection can be closed. A connection can be closed if its idle
    /// timeout has expired, or if it accepts no more calls and all of its calls have ended.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.shared.is_done() {
            return Poll::Ready(End::Idle);
        }
        if self.shared.in_flight() > 0 {
            if let Some(since) = self.idle_since.take() {
                self.last_idle_since = Some(since);
            }
            return Poll::Pending;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        ready!(self.timer.poll(cx, since + self.idle_limit.at(since)));
        if self.shared.retire_if_idle() {
            Poll::Ready(End::Idle)
        } else {
            // A new call was added in the meantime. The new call wakes this task.
            Poll::Pending
        }
    }
}

/// Fails the calls in flight if the driver task is aborted, its runtime shuts down, or a custom
/// transport panics.
impl Drop for Driver {
    fn drop(&mut self) {
        self.end(None);
    }
}
