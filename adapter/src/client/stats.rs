//! What a client counts, and the public view of it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// A snapshot of what a [`RemoteAgent`](crate::RemoteAgent) is doing:
/// [`RemoteAgent::stats`](crate::RemoteAgent::stats).
///
/// The numbers are read one after the other, so they may not add up while calls start and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Open connections.
    pub open: usize,
    /// Open connections that no call uses.
    pub idle: usize,
    /// Calls and streams that have started and not ended, including those that wait.
    pub in_flight: usize,
    /// Calls and streams that wait for a free connection.
    pub waiting: usize,
    /// Connections opened to replace lost ones, since the client was built.
    pub reconnects: usize,
}

/// The counters that all clones of one client share.
///
/// All accesses are relaxed: each counter is read for statistics only, and guards no other data.
#[derive(Debug, Default)]
pub(super) struct Counters {
    open: AtomicUsize,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    /// Lost connections that have not been replaced.
    lost: AtomicUsize,
    reconnects: AtomicUsize,
}

impl Counters {
    pub(super) fn stats(&self, idle: usize) -> ClientStats {
        ClientStats {
            open: self.open.load(Relaxed),
            idle,
            in_flight: self.in_flight.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
        }
    }

    /// Counts an open connection until the guard is dropped.
    pub(super) fn opened(self: &Arc<Self>) -> Counted {
        let replaced = self
            .lost
            .fetch_update(Relaxed, Relaxed, |lost| lost.checked_sub(1));
        if replaced.is_ok() {
            self.reconnects.fetch_add(1, Relaxed);
        }
        self.count(|counters| &counters.open)
    }

    /// Counts a connection that the client did not close itself.
    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// Counts a call in flight until the guard is dropped.
    pub(super) fn in_flight(self: &Arc<Self>) -> Counted {
        self.count(|counters| &counters.in_flight)
    }

    /// Counts a waiting call until the guard is dropped.
    pub(super) fn waiting(self: &Arc<Self>) -> Counted {
        self.count(|counters| &counters.waiting)
    }

    fn count(self: &Arc<Self>, which: fn(&Self) -> &AtomicUsize) -> Counted {
        which(self).fetch_add(1, Relaxed);
        Counted {
            counters: Arc::clone(self),
            which,
        }
    }
}

/// Counts one thing for as long as the guard lives.
#[derive(Debug)]
pub(super) struct Counted {
    counters: Arc<Counters>,
    which: fn(&Counters) -> &AtomicUsize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.which)(&self.counters).fetch_sub(1, Relaxed);
    }
}
