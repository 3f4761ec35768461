//! The statistics of a client: [`ClientStats`].

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use agentwire_transport::Endpoint;

use crate::observer::{ConnectionGuard, Observers, Side};

/// A snapshot of the statistics of a [`RemoteAgent`](crate::RemoteAgent), returned by
/// [`RemoteAgent::stats`](crate::RemoteAgent::stats).
///
/// The counters are read one after another, so the numbers may be slightly inconsistent while calls
/// start and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// The number of open connections.
    pub open: usize,
    /// The number of open connections that no call uses.
    pub idle: usize,
    /// The number of calls and streams that have started but not ended. Calls that are waiting for
    /// a connection are included.
    pub in_flight: usize,
    /// The number of calls and streams that are waiting for a connection.
    pub waiting: usize,
    /// The number of lost connections that have been replaced since the client was built.
    pub reconnects: usize,
}

/// The counters that all clones of one client share.
///
/// All accesses are relaxed because the counters are used only for statistics and guard no other
/// data.
#[derive(Debug, Default)]
pub(super) struct Counters {
    observers: Observers,
    open: AtomicUsize,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    /// The number of lost connections that have not been replaced.
    lost: AtomicUsize,
    reconnects: AtomicUsize,
}

impl Counters {
    pub(super) fn new(observers: Observers) -> Self {
        Self {
            observers,
            ..Self::default()
        }
    }

    pub(super) fn observers(&self) -> &Observers {
        &self.observers
    }

    pub(super) fn stats(&self, idle: usize) -> ClientStats {
        ClientStats {
            open: self.open.load(Relaxed),
            idle,
            in_flight: self.in_flight.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            reconnects: self.reconnects.load(Relaxed),
        }
    }

    /// Reports that bytes of a request are sent.
    pub(super) fn sent(&self, bytes: usize) {
        self.observers
            .report(|observer| observer.bytes_sent(Side::Client, bytes as u64));
    }

    /// Reports that bytes of an answer were received.
    pub(super) fn received(&self, bytes: u64) {
        if bytes > 0 {
            self.observers
                .report(|observer| observer.bytes_received(Side::Client, bytes));
        }
    }

    /// Counts an open connection until the guard is dropped.
    pub(super) fn opened(self: &Arc<Self>, endpoint: &Endpoint) -> OpenConnection {
        let replaced = self
            .lost
            .fetch_update(Relaxed, Relaxed, |lost| lost.checked_sub(1));
        if replaced.is_ok() {
            self.reconnects.fetch_add(1, Relaxed);
        }
        OpenConnection {
            _counted: self.count(|counters| &counters.open),
            observed: ConnectionGuard::connected(&self.observers, endpoint),
        }
    }

    /// Counts a lost connection. A connection is lost if it ends without being closed by the
    /// client.
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

/// A guard that counts an open connection until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    _counted: Counted,
    /// Reports the end of the connection to the observer, if there is one.
    observed: Option<Box<ConnectionGuard>>,
}

impl OpenConnection {
    /// Tells the observer that the connection was lost.
    pub(super) fn lost(&self) {
        if let Some(observed) = &self.observed {
            observed.ends_with("lost");
        }
    }
}

/// A guard that keeps a counter incremented until it is dropped.
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
