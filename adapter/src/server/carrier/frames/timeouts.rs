//! What a session waits for, since when, and until when.

use std::time::Duration;

use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::Instant;

use crate::{connection::FramedConnection, server::config::ServerConfig};

/// The waits of a session that have a time limit. Each field holds when the wait began.
#[derive(Default)]
pub(super) struct Timeouts {
    /// For any request, with none in flight.
    idle: Option<Instant>,
    /// For the rest of a frame.
    frame: Option<Instant>,
    /// For the peer to read more than this many bytes in total.
    write: Option<(Instant, u64)>,
    /// Whether the connection holds a large read buffer that is empty.
    has_excess_capacity: bool,
}

/// What to do when a wait has reached its limit.
pub(super) enum Expired {
    /// Free the large read buffer.
    Shrink,
    /// Close the connection, for this reason.
    Close(&'static str),
}

impl Timeouts {
    /// Ends the waits for a request and for the rest of its frame.
    pub(super) fn request_arrived(&mut self) {
        self.idle = None;
        self.frame = None;
    }

    /// Ends the wait for the buffer to be freed.
    pub(super) fn shrunk(&mut self) {
        self.has_excess_capacity = false;
    }

    /// Starts and ends waits by what the connection is doing now. `discards_frame` says that the
    /// rest of an oversize frame is being discarded, which must come to an end as well.
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

    /// Returns the earliest limit, and what to do when it is reached.
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

/// How long an idle connection keeps a large read buffer. Large frames come in a row or not at all.
const SHRINK_AFTER: Duration = Duration::from_secs(1);
