//! The timeouts of a session.

use std::time::Duration;

use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::Instant;

use crate::{connection::FramedConnection, server::config::ServerConfig};

/// The waits of a session that have a timeout. Each field contains the time at which the wait
/// began.
#[derive(Default)]
pub(super) struct Timeouts {
    /// Waiting for a request while no request is in flight.
    idle: Option<Instant>,
    /// Waiting for the rest of a frame.
    frame: Option<Instant>,
    /// Waiting for the peer to read. The second value is the number of bytes that had been written
    /// when the wait began.
    write: Option<(Instant, u64)>,
    /// Whether the connection holds a large read buffer that is empty.
    has_excess_capacity: bool,
}

/// The action to take when a timeout has expired.
pub(super) enum Expired {
    /// Free the large read buffer.
    Shrink,
    /// Close the connection for the given reason.
    Close(&'static str),
}

impl Timeouts {
    /// Records that a whole request has arrived.
    pub(super) fn request_arrived(&mut self) {
        self.idle = None;
        self.frame = None;
    }

    /// Records that the read buffer has been freed.
    pub(super) fn shrunk(&mut self) {
        self.has_excess_capacity = false;
    }

    /// Starts and ends waits according to the state of the connection. If `discards_frame` is true,
    /// the rest of a refused frame is being discarded. The frame timeout then applies to the
    /// discarded bytes.
    pub(super) fn update(
        &mut self,
        connection: &FramedConnection,
        discards_frame: bool,
        has_requests: bool,
        now: Instant,
    ) {
        let is_partial = discards_frame || connection.has_partial_frame();
        let is_idle = !has_requests && connection.is_flushed() && !is_partial;
        self.idle = is_idle.then(|| self.idle.unwrap_or(now));
        self.frame = is_partial.then(|| self.frame.unwrap_or(now));
        self.write = match self.write {
            _ if connection.is_flushed() => None,
            Some((since, before)) if connection.written() == before => Some((since, before)),
            _ => Some((now, connection.written())),
        };
        self.has_excess_capacity = connection.has_excess_capacity();
    }

    /// Returns the earliest deadline, and the action to take when it has passed.
    pub(super) fn next(&self, config: &ServerConfig) -> Option<(Instant, Expired)> {
        let after = |since: Option<Instant>, timeout: Duration, expired| {
            since.map(|since| (since + timeout.min(MAX_TIMEOUT), expired))
        };
        let wasteful = self.idle.filter(|_| self.has_excess_capacity);
        let unread = self.write.map(|(since, _)| since);
        [
            after(wasteful, SHRINK_AFTER, Expired::Shrink),
            after(
                self.idle,
                config.idle_timeout,
                Expired::Close("no request arrived"),
            ),
            after(
                self.frame,
                config.frame_timeout,
                Expired::Close("a frame was not completed"),
            ),
            after(
                unread,
                config.write_timeout,
                Expired::Close("the peer does not read its answers"),
            ),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(deadline, _)| *deadline)
    }
}

/// How long an idle connection keeps a large read buffer. Large frames usually arrive in quick
/// succession or not at all.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
