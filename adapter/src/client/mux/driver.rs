use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_codec::FrameError;
use bytes::Bytes;
use tokio::time::Instant;

use super::connection::{Shared, Written};
use crate::{
    client::{
        counters::{Counted, Counters},
        pool::IDLE_LIMIT,
    },
    connection::FramedConnection,
    deadline_timer::DeadlineTimer,
};

/// Reads and writes a connection for all of its callers.
pub(super) struct Driver {
    link: FramedConnection,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    _counted: Counted,
    /// A large frame that is being written.
    large: Bytes,
    /// The callers have had a turn since something was last written.
    has_yielded: bool,
    idle_since: Option<Instant>,
    alarm: DeadlineTimer,
}

/// Why a driver ends.
enum End {
    Idle,
    Lost(Option<FrameError>),
}

impl Driver {
    pub(super) fn new(
        link: FramedConnection,
        shared: Arc<Shared>,
        counters: Arc<Counters>,
    ) -> Self {
        let counted = counters.opened();
        Self {
            link,
            shared,
            counters,
            _counted: counted,
            large: Bytes::new(),
            has_yielded: false,
            idle_since: None,
            alarm: DeadlineTimer::default(),
        }
    }

    pub(super) async fn run(mut self) {
        match poll_fn(|cx| self.poll(cx)).await {
            End::Idle => self.end(None),
            End::Lost(error) => {
                tracing::debug!(?error, "connection lost");
                self.counters.lost();
                self.end(error.as_ref());
            }
        }
    }

    fn end(&self, error: Option<&FrameError>) {
        // The line has small frames only.
        let written = Written {
            small: self.link.written(),
            is_large_left: !self.large.is_empty(),
        };
        self.shared.end(error, written);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // First, so that no frame that is put in line from here on goes unnoticed.
        self.shared.driver.register(cx.waker());
        if let Poll::Ready(end) = self.poll_read(cx) {
            return Poll::Ready(end);
        }
        // Others whose answers have just come are about to call again, and their frames can leave in the same
        // write. A lone call is not made to wait.
        if !self.has_yielded && self.shared.in_flight() > 1 {
            self.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.has_yielded = false;
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            // Answers may have come before the far side closed.
            return match self.poll_read(cx) {
                Poll::Ready(end) => Poll::Ready(end),
                Poll::Pending => Poll::Ready(End::Lost(Some(error.into()))),
            };
        }
        self.poll_idle(cx)
    }

    /// Hands out the answers that have come. `Ready` at the end of the connection.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            match ready!(self.link.poll_envelope(cx)) {
                Ok(Some(Ok(envelope))) => self.shared.deliver(&envelope.id, envelope.body),
                Ok(Some(Err(error))) => self.shared.deliver_fault(error),
                Ok(None) => return Poll::Ready(End::Lost(None)),
                Err(error) => return Poll::Ready(End::Lost(Some(error))),
            }
        }
    }

    /// Writes all that is in line. `Ready` once nothing is left, or on failure.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // What has gathered of small frames, then one large one, by turns.
            ready!(self.link.poll_flush(cx))?;
            if !self.large.is_empty() {
                ready!(self.link.poll_write_frame(cx, &mut self.large))?;
            }
            let large = self.shared.take_frames(self.link.write_buffer_mut());
            self.large = large.unwrap_or_default();
            if self.link.queued() == 0 && self.large.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// `Ready` once nobody will call any more, or nobody has called for so long that the server may be about to
    /// close.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.shared.is_done() {
            return Poll::Ready(End::Idle);
        }
        if self.shared.in_flight() > 0 {
            self.idle_since = None;
            return Poll::Pending;
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        ready!(self.alarm.poll(cx, since + IDLE_LIMIT));
        match self.shared.retire_if_idle() {
            true => Poll::Ready(End::Idle),
            // Somebody called this very moment, and wakes this task.
            false => Poll::Pending,
        }
    }
}

/// However the driver ends, with its runtime or in a panic of a custom transport: nobody waits for it.
impl Drop for Driver {
    fn drop(&mut self) {
        self.end(None);
    }
}
