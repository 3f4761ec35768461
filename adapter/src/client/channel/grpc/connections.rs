//! The connections to one endpoint.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_codec::FrameLimits;
use agentwire_transport::{Connector, Endpoint, internal::Mutex};

use super::{
    connection::{Connection, Opening, Owner, Slot},
    heads::Heads,
};
use crate::{
    client::{permits::Permits, shared::Client, stats::Counters},
    connection::Bodies,
};

/// The connections to one endpoint, and the permits that limit the calls in flight.
pub(super) struct Connections {
    connector: Arc<dyn Connector>,
    heads: Heads,
    limits: FrameLimits,
    bodies: Bodies,
    max_connections: usize,
    max_calls: usize,
    idle_timeout: Duration,
    permits: Permits,
    counters: Arc<Counters>,
    connections: Mutex<Vec<Arc<Connection>>>,
}

impl Connections {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        let config = &client.config;
        let max_calls = config.streams_per_connection();
        let calls = config.max_connections.saturating_mul(max_calls);
        Self {
            heads: Heads::new(connector.endpoint()),
            connector,
            limits: config.frame_limits,
            bodies: config.bodies,
            max_connections: config.max_connections,
            max_calls,
            idle_timeout: config.idle_timeout,
            permits: Permits::new(calls, Arc::clone(&client.counters)),
            counters: Arc::clone(&client.counters),
            connections: Mutex::default(),
        }
    }

    /// Returns how to open a connection.
    pub(super) fn opening(self: &Arc<Self>) -> Opening<'_> {
        let owner: Weak<Self> = Arc::downgrade(self);
        Opening {
            connector: &*self.connector,
            counters: &self.counters,
            idle_timeout: self.idle_timeout,
            max_calls: self.max_calls,
            owner,
        }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    pub(super) fn heads(&self) -> &Heads {
        &self.heads
    }

    pub(super) fn limits(&self) -> FrameLimits {
        self.limits
    }

    pub(super) fn bodies(&self) -> Bodies {
        self.bodies
    }

    pub(super) fn permits(&self) -> &Permits {
        &self.permits
    }

    /// Takes a slot on the connection with the most calls that allows another one. If there is
    /// none, adds a connection, or waits on the least busy one at the limit of connections.
    pub(super) fn slot(&self) -> Slot {
        let mut connections = self.connections.lock();
        let known = connections.iter().filter_map(|one| one.limit()).min();
        let usual = known.unwrap_or(self.max_calls).min(self.max_calls);
        let with_room = connections.iter().filter(|one| one.has_room(usual));
        let busiest = with_room.max_by_key(|one| one.in_flight());
        if let Some(connection) = busiest {
            return connection.slot();
        }
        if connections.len() >= self.max_connections {
            if let Some(least_busy) = connections.iter().min_by_key(|one| one.in_flight()) {
                return least_busy.slot();
            }
        }
        let connection = Connection::new();
        let slot = connection.slot();
        connections.push(connection);
        slot
    }

    /// Handles the timeout of a call. A connection from which nothing has arrived while the call
    /// waited may be dead, so it serves no further calls. It is not pinged: many servers of gRPC
    /// end a connection after a few pings in a silent call.
    pub(super) fn timed_out(&self, slot: &Slot) {
        if slot.is_silent() && self.remove(slot.connection(), |_| true) {
            let endpoint = self.endpoint();
            tracing::debug!(%endpoint, "connection of gRPC is silent; the next call opens another");
        }
    }

    pub(super) fn idle(&self) -> usize {
        let connections = self.connections.lock();
        connections.iter().filter(|one| one.is_idle()).count()
    }

    /// Stops accepting calls, and closes each connection once its calls have ended.
    pub(super) fn drain(&self) {
        self.permits.close();
        let connections = std::mem::take(&mut *self.connections.lock());
        drop(connections);
    }
}

impl Owner for Connections {
    fn remove(&self, connection: &Arc<Connection>, may_remove: fn(&Connection) -> bool) -> bool {
        let mut connections = self.connections.lock();
        let is_removed = may_remove(connection);
        if is_removed {
            // The calls on the connection keep it open.
            connections.retain(|one| !Arc::ptr_eq(one, connection));
        }
        is_removed
    }
}
