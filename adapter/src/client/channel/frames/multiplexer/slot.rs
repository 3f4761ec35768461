//! Slots for calls on shared connections.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::{
    connection::MuxConnection,
    permit::{InFlightCount, InFlightPermit},
    shared::Shared,
};
use crate::client::{channel::failure::Failure, permits::Permit};

/// A connection that exists or is being opened. The calls that will share it wait here meanwhile.
#[derive(Debug, Default)]
pub(super) struct SharedConnection {
    connection: OnceCell<MuxConnection>,
    in_flight: InFlightCount,
}

/// A place for one call in flight on a shared connection.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) connection: Arc<SharedConnection>,
    pub(super) permit: InFlightPermit,
}

impl SharedConnection {
    /// Takes a slot.
    pub(super) fn slot(self: &Arc<Self>, permit: Permit) -> Slot {
        Slot {
            connection: Arc::clone(self),
            permit: self.in_flight.add(permit),
        }
    }

    /// Returns how many calls have a slot.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.get()
    }

    /// Returns whether the connection has been opened and accepts no more calls.
    pub(super) fn is_retired(&self) -> bool {
        self.shared().is_some_and(|shared| shared.is_retired())
    }

    /// Returns whether the connection has been opened and has no calls.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.shared().is_some_and(|shared| !shared.is_retired())
    }

    /// Returns what the callers share with the driver, once the connection has been opened.
    pub(super) fn shared(&self) -> Option<&Arc<Shared>> {
        self.connection.get().map(MuxConnection::shared)
    }
}

impl Slot {
    pub(super) fn is_connected(&self) -> bool {
        self.connection.connection.initialized()
    }

    /// Opens the connection, unless another call has opened it.
    ///
    /// If the call that opens the connection is dropped, the next waiting call takes over.
    pub(super) async fn connect<F>(&self, make: impl FnOnce() -> F) -> Result<(), Failure>
    where
        F: Future<Output = Result<MuxConnection, Failure>>,
    {
        let made = self.connection.connection.get_or_try_init(make);
        made.await.map(|_| ())
    }
}
