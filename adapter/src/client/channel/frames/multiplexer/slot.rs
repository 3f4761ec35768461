//! Slots for calls on shared connections.

use std::sync::Arc;

use agentwire_transport::internal::RuntimeAffinity;
use tokio::sync::OnceCell;

use super::{
    connection::MuxConnection,
    permit::{InFlightCount, InFlightPermit},
    shared::Shared,
};
use crate::client::{channel::failure::Failure, permits::Permit};

/// A connection that is open or is being opened. The calls that share the connection wait until the
/// connection is open.
#[derive(Debug)]
pub(super) struct SharedConnection {
    /// The runtimes whose calls can use the connection.
    affinity: RuntimeAffinity,
    connection: OnceCell<MuxConnection>,
    in_flight: InFlightCount,
}

/// A place for one call on a shared connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) connection: Arc<SharedConnection>,
    pub(super) permit: InFlightPermit,
}

impl SharedConnection {
    /// Creates a connection that will be opened on the current runtime.
    pub(super) fn new() -> Self {
        Self {
            affinity: RuntimeAffinity::current(),
            connection: OnceCell::new(),
            in_flight: InFlightCount::default(),
        }
    }

    /// Returns whether calls on the current runtime can use the connection.
    pub(super) fn is_driven_here(&self) -> bool {
        self.affinity.includes_current()
    }

    /// Takes a slot on this connection.
    pub(super) fn slot(self: &Arc<Self>, permit: Permit) -> Slot {
        Slot {
            connection: Arc::clone(self),
            permit: self.in_flight.add(permit),
        }
    }

    /// Returns the number of calls that hold a slot.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Returns whether the connection was opened and accepts no more calls.
    pub(super) fn is_retired(&self) -> bool {
        self.shared().is_some_and(|shared| shared.is_retired())
    }

    /// Returns whether the connection is open and has no calls.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.shared().is_some_and(|shared| !shared.is_retired())
    }

    /// Returns the state that the callers share with the driver, or `None` if the connection has
    /// not been opened.
    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.connection.get().map(MuxConnection::shared)
    }
}

impl Slot {
    pub(super) fn is_connected(&self) -> bool {
        self.connection.connection.initialized()
    }

    /// Opens the connection, unless another call has already opened it.
    ///
    /// If the call that is opening the connection is dropped, another waiting call opens the
    /// connection.
    pub(super) async fn connect<F>(&self, make: impl FnOnce() -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<MuxConnection, Failure>>,
    {
        let made = self.connection.connection.get_or_try_init(make);
        made.await.map(|_| ())
    }
}
