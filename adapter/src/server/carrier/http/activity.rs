//! What the timeouts of a connection know about its requests and bytes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// The counters of one connection. Each stream of HTTP/2 has its own task, so the counters are
/// atomic. `Relaxed` is sufficient: each counter is a hint for a timeout, and stands for itself.
#[derive(Debug, Default)]
pub(super) struct Activity {
    received: AtomicU64,
    written: AtomicU64,
    /// Whether the last write had to wait for the peer.
    is_write_blocked: AtomicBool,
    is_http2: AtomicBool,
    /// Whether a request was refused before its body had arrived.
    has_unread_body: AtomicBool,
    /// The number of requests that have begun.
    requests: AtomicU64,
    in_flight: AtomicUsize,
    /// The number of complete answers that have not been written.
    unsent: AtomicUsize,
}

impl Activity {
    pub(super) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    pub(super) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn add_written(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn set_write_blocked(&self, is_blocked: bool) {
        self.is_write_blocked.store(is_blocked, Relaxed);
    }

    /// Returns whether an answer waits for the peer.
    pub(super) fn is_writing(&self) -> bool {
        self.is_write_blocked.load(Relaxed) || self.unsent.load(Relaxed) > 0
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2.load(Relaxed)
    }

    pub(super) fn set_http2(&self) {
        self.is_http2.store(true, Relaxed);
    }

    pub(super) fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Relaxed)
    }

    pub(super) fn set_unread_body(&self) {
        self.has_unread_body.store(true, Relaxed);
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }
}

/// A request in flight, from its first line to the end of its answer.
#[derive(Debug)]
pub(super) struct InFlight {
    activity: Arc<Activity>,
    is_unsent: bool,
}

impl InFlight {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Relaxed);
        activity.in_flight.fetch_add(1, Relaxed);
        Self {
            activity: Arc::clone(activity),
            is_unsent: false,
        }
    }

    /// Records that the whole answer is ready to be written.
    pub(super) fn answered(&mut self) {
        if !self.is_unsent {
            self.is_unsent = true;
            self.activity.unsent.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.in_flight.fetch_sub(1, Relaxed);
        if self.is_unsent {
            self.activity.unsent.fetch_sub(1, Relaxed);
        }
    }
}
