//! The calls that share a connection: [`Calls`].

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use agentwire_transport::internal::Mutex;
use tokio::time::Instant;

/// Counts the calls in flight on one connection of HTTP/2, and remembers when the last one ended.
///
/// The owner of the connections starts calls and removes idle connections under one lock. That lock
/// orders what must be ordered, so `Relaxed` is sufficient.
#[derive(Debug)]
pub(super) struct Calls {
    in_flight: AtomicUsize,
    idle_since: Mutex<Instant>,
}

impl Calls {
    pub(super) fn new() -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
        }
    }

    /// Counts a call. The owner of the connections must hold its lock.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        *self.idle_since.lock() = Instant::now();
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    /// Returns when the last call ended, or when the connection was created.
    pub(super) fn idle_since(&self) -> Instant {
        *self.idle_since.lock()
    }
}
