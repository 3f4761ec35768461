//! Reports the start and the end of a connection.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use agentwire_transport::{Endpoint, Peer, internal::Mutex};

use super::{ConnectionEvent, Observer, Observers, Side};

/// Reports the end of a connection when it is dropped.
pub(crate) struct ConnectionGuard {
    observer: Arc<dyn Observer>,
    side: Side,
    id: u64,
    endpoint: Endpoint,
    peer: Option<Peer>,
    reason: Mutex<&'static str>,
}

impl ConnectionGuard {
    /// Reports a connection that a server has accepted. Returns `None` if there is no observer.
    pub(crate) fn accepted(
        observers: &Observers,
        id: u64,
        endpoint: &Endpoint,
        peer: &Peer,
    ) -> Option<Box<Self>> {
        let observer = observers.get()?;
        Some(Self::open(observer, Side::Server, id, endpoint, Some(peer)))
    }

    /// Reports a connection that a client has opened. Returns `None` if there is no observer.
    pub(crate) fn connected(observers: &Observers, endpoint: &Endpoint) -> Option<Box<Self>> {
        let observer = observers.get()?;
        // Relaxed, because only the uniqueness of the ids matters.
        let id = NEXT_ID.fetch_add(1, Relaxed);
        Some(Self::open(observer, Side::Client, id, endpoint, None))
    }

    fn open(
        observer: &Arc<dyn Observer>,
        side: Side,
        id: u64,
        endpoint: &Endpoint,
        peer: Option<&Peer>,
    ) -> Box<Self> {
        let guard = Box::new(Self {
            observer: Arc::clone(observer),
            side,
            id,
            endpoint: endpoint.clone(),
            peer: peer.cloned(),
            reason: Mutex::new("closed"),
        });
        guard.observer.connection_opened(&guard.event());
        guard
    }

    /// Sets the reason why the connection ends. The default is `closed`.
    pub(crate) fn ends_with(&self, reason: &'static str) {
        *self.reason.lock() = reason;
    }

    fn event(&self) -> ConnectionEvent<'_> {
        ConnectionEvent {
            side: self.side,
            id: self.id,
            endpoint: &self.endpoint,
            peer: self.peer.as_ref(),
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let reason = *self.reason.lock();
        self.observer.connection_closed(&self.event(), reason);
    }
}

impl fmt::Debug for ConnectionGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionGuard")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);
