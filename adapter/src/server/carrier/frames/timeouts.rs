//! The timeouts of a session.

use std::time::Duration;

use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::Instant;

use crate::{
    connection::FramedConnection,
    server::{
        carrier::rates::{MIN_ANSWER_RATE, MIN_REQUEST_RATE, least_bytes},
        config::ServerConfig,
    },
};

/// The waits of a session that have a timeout. Each field contains the start time of a wait, or
/// `None` if the session is not waiting.
#[derive(Default)]
pub(super) struct Timeouts {
    /// Waiting for a request while no request is in flight.
    idle: Option<Instant>,
    /// Waiting for a request that the service accepts. Refused and partial frames do not end this
    /// wait, so that they cannot keep a connection open.
    quiet: Option<Instant>,
    /// Waiting for the rest of a frame.
    frame: Option<Window>,
    /// Waiting for the peer to read.
    write: Option<Window>,
    /// Waiting for the next check whether the peer has disconnected.
    check: Option<Instant>,
    /// Waiting for memory for a frame.
    memory: Option<Instant>,
    /// Holding a large read buffer that is empty.
    excess: Option<Instant>,
    /// The time at which the certificate of the peer expires.
    expiry: Option<Instant>,
    /// The time at which the requests in flight after that are dropped.
    end: Option<Instant>,
}

/// A window of time in which a peer must send or read at a least rate. After a window with enough
/// bytes, the next one starts, so that a large frame may take longer than one timeout.
#[derive(Clone, Copy)]
struct Window {
    since: Instant,
    /// The number of bytes that had been moved at the start of the window.
    before: u64,
}

impl Window {
    fn renew(current: Option<Self>, moved: u64, least: u64, now: Instant) -> Self {
        match current {
            Some(window) if moved - window.before < least => window,
            _ => Self {
                since: now,
                before: moved,
            },
        }
    }
}

/// The state of a session that the timeouts depend on.
pub(super) struct Waits {
    /// Whether the rest of a refused frame is being discarded. The frame timeout also applies to
    /// discarded bytes.
    pub(super) discards_frame: bool,
    /// Whether accepted requests are in flight.
    pub(super) has_accepted: bool,
    /// Whether requests are in flight or being decoded.
    pub(super) has_requests: bool,
    /// Whether the session has read the end of the peer's input.
    pub(super) has_ended: bool,
    /// Whether a frame has arrived that the session has no capacity to process.
    pub(super) is_blocked: bool,
    /// Whether a frame waits for memory.
    pub(super) needs_memory: bool,
}

/// The action to take when a timeout has expired.
pub(super) enum Expired {
    /// Free the large read buffer.
    Shrink,
    /// Refuse the frame that waits for memory.
    RefuseFrame,
    /// Check whether the peer has disconnected.
    CheckPeer,
    /// Close the connection once the requests in flight are answered.
    Certificate,
    /// Close the connection for the given reason.
    Close(&'static str),
}

impl Timeouts {
    /// Records that a whole frame has arrived.
    pub(super) fn frame_arrived(&mut self) {
        self.frame = None;
        self.excess = None;
    }

    /// Records that the service has accepted a request.
    pub(super) fn request_accepted(&mut self) {
        self.quiet = None;
    }

    /// Returns the time of the last accepted request, or `None` while a request is in flight.
    pub(super) fn quiet_since(&self) -> Option<Instant> {
        self.quiet
    }

    /// Sets the time at which the certificate of the peer expires.
    pub(super) fn expire_at(&mut self, expiry: Instant) {
        self.expiry = Some(expiry);
    }

    /// Records that the certificate of the peer has expired. The requests in flight have until
    /// `end`.
    pub(super) fn certificate_expired(&mut self, end: Instant) {
        self.expiry = None;
        self.end = Some(end);
    }

    /// Records that the read buffer has been freed.
    pub(super) fn shrunk(&mut self) {
        self.excess = None;
    }

    /// Records that the session has checked whether the peer has disconnected.
    pub(super) fn peer_checked(&mut self) {
        self.check = Some(Instant::now());
    }

    /// Starts and ends waits according to the state of the session and the connection.
    pub(super) fn update(
        &mut self,
        connection: &FramedConnection,
        waits: &Waits,
        config: &ServerConfig,
        now: Instant,
    ) {
        let is_partial = !waits.has_ended
            && !waits.needs_memory
            && (waits.discards_frame || connection.has_partial_frame());
        let is_idle =
            !waits.has_requests && connection.is_flushed() && !is_partial && !waits.needs_memory;
        // After an accepted request, the wait starts when the answers have been written.
        let is_answering = self.quiet.is_none() && !connection.is_flushed();
        let is_quiet = !waits.has_accepted && !is_answering;
        self.quiet = is_quiet.then(|| self.quiet.unwrap_or(now));
        self.idle = self.quiet.filter(|_| is_idle);
        // The time to discard a refused frame is bounded, whatever the progress.
        let least = if waits.discards_frame {
            u64::MAX
        } else {
            least_bytes(MIN_REQUEST_RATE, config.frame_timeout)
        };
        self.frame =
            is_partial.then(|| Window::renew(self.frame, connection.received(), least, now));
        let least = least_bytes(MIN_ANSWER_RATE, config.write_timeout);
        self.write = (!connection.is_flushed())
            .then(|| Window::renew(self.write, connection.written(), least, now));
        let needs_check = waits.has_ended || waits.is_blocked;
        self.check = needs_check.then(|| self.check.unwrap_or(now));
        self.memory = waits.needs_memory.then(|| self.memory.unwrap_or(now));
        let is_excess = connection.has_excess_capacity();
        self.excess = is_excess.then(|| self.excess.unwrap_or(now));
    }

    /// Returns the earliest deadline, and the action to take at that deadline.
    pub(super) fn next(&self, config: &ServerConfig) -> Option<(Instant, Expired)> {
        let after = |since: Option<Instant>, timeout: Duration, expired| {
            since.map(|since| (since + timeout.min(MAX_TIMEOUT), expired))
        };
        let unread = self.write.map(|window| window.since);
        let partial = self.frame.map(|window| window.since);
        [
            self.expiry.map(|expiry| (expiry, Expired::Certificate)),
            self.end.map(|end| {
                (
                    end,
                    Expired::Close("the certificate of the peer has expired"),
                )
            }),
            after(self.excess, SHRINK_AFTER, Expired::Shrink),
            after(self.memory, config.frame_timeout, Expired::RefuseFrame),
            after(self.check, CHECK_INTERVAL, Expired::CheckPeer),
            after(
                self.idle,
                config.idle_timeout,
                Expired::Close("no accepted request arrived"),
            ),
            after(
                partial,
                config.frame_timeout,
                Expired::Close("a frame arrived too slowly or not at all"),
            ),
            after(
                unread,
                config.write_timeout,
                Expired::Close("the peer reads its answers too slowly or not at all"),
            ),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(deadline, _)| *deadline)
    }
}

/// The time after which an idle connection frees a large read buffer. Large frames usually arrive
/// in quick succession.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

/// The interval at which a session checks whether its peer has disconnected, if reading cannot
/// detect a disconnect.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
