use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What a [`RemoteAgent`](crate::RemoteAgent) is doing, at one moment: [`RemoteAgent::stats`](crate::RemoteAgent::stats).
///
/// The numbers are taken one after the other, so they need not add up while calls come and go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Connections that are open.
    pub open: usize,
    /// Those of them that wait for a call.
    pub idle: usize,
    /// Calls and streams that have been made and have not ended, those that wait included.
    pub in_flight: usize,
    /// Those of them that wait for a free connection.
    pub waiting: usize,
    /// Connections that were opened in place of one that had been lost, since the client was made.
    pub reconnects: usize,
}

/// What the clones of one client count together.
#[derive(Debug, Default)]
pub(super) struct Counters {
    open: AtomicUsize,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    /// Connections that were lost and have not been replaced.
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

    /// One more connection, until the guard is dropped.
    pub(super) fn opened(self: &Arc<Self>) -> Counted {
        let replaced = self
            .lost
            .fetch_update(Relaxed, Relaxed, |lost| lost.checked_sub(1));
        if replaced.is_ok() {
            self.reconnects.fetch_add(1, Relaxed);
        }
        self.count(|counters| &counters.open)
    }

    /// A connection has ended without the client's doing.
    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    pub(super) fn in_flight(self: &Arc<Self>) -> Counted {
        self.count(|counters| &counters.in_flight)
    }

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

/// Counts one thing for as long as it lives.
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
