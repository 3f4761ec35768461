//! Connections that many calls share, for servers that answer each request as soon as it is
//! processed.
//!
//! Each connection has a driver task that reads answers and writes requests. Callers queue their
//! frames and wait for the answers.

mod connection;
mod driver;
mod in_flight;
mod pending;
mod permit;
mod shared;
mod slot;

use std::sync::Arc;

use agentwire_codec::{Body, FrameLimits};
use agentwire_transport::{Connector, internal::Mutex};
use tokio::time::timeout_at;

use self::{
    connection::MuxConnection,
    driver::Driver,
    pending::Pending,
    shared::Shared,
    slot::{SharedConnection, Slot},
};
use crate::client::channel::idle_limit::IdleLimit;
use crate::{
    client::{
        channel::{deadlines::Deadlines, failure::Failure, request::Request},
        permits::{Permit, Permits},
        shared::Client,
        stats::Counters,
    },
    connection::{Bodies, FramedConnection},
    error::Phase,
};

/// The shared connections to one endpoint.
#[derive(Debug)]
pub(super) struct Multiplexer {
    connector: Arc<dyn Connector>,
    limits: FrameLimits,
    bodies: Bodies,
    max_connections: usize,
    max_in_flight: usize,
    idle_limit: Arc<IdleLimit>,
    /// The permits that limit the total number of calls in flight on all connections.
    permits: Permits,
    counters: Arc<Counters>,
    connections: Mutex<Vec<Arc<SharedConnection>>>,
}

impl Multiplexer {
    pub(super) fn new(
        client: &Client,
        connector: Arc<dyn Connector>,
        idle_limit: Arc<IdleLimit>,
    ) -> Self {
        let config = &client.config;
        let max_in_flight = config.calls_per_connection();
        let calls = config.max_connections.saturating_mul(max_in_flight);
        Self {
            connector,
            limits: config.frame_limits,
            bodies: config.bodies,
            max_connections: config.max_connections,
            max_in_flight,
            idle_limit,
            permits: Permits::new(calls, Arc::clone(&client.counters)),
            counters: Arc::clone(&client.counters),
            connections: Mutex::default(),
        }
    }

    /// Sends a request and waits for its only answer.
    pub(super) async fn call(
        &self,
        request: &Request,
        deadlines: Deadlines<'_>,
    ) -> Result<Body, Failure> {
        let permit = deadlines.acquire(&self.permits).await?;
        let slot = self.slot(permit);
        if !slot.is_connected() {
            let connecting = slot.connect(|| self.connect(deadlines));
            let endpoint = self.connector.endpoint();
            deadlines.connect(endpoint, connecting).await?;
        }
        let mut pending = Pending::send(slot, request)?;
        self.counters.sent(request.frame.len());
        match timeout_at(deadlines.call(), &mut pending).await {
            Ok(answer) => {
                answer.map_err(|failure| failure.before_first_answer(self.connector.endpoint()))
            }
            Err(_) => {
                if pending.timed_out() {
                    self.close_idle();
                }
                Err(Failure::TimedOut(Phase::Receiving))
            }
        }
    }

    /// Takes a slot on an idle connection. If no connection is idle, adds a new connection. If the
    /// limit on connections is reached, takes a slot on the connection with the fewest calls.
    fn slot(&self, permit: Permit) -> Slot {
        let mut connections = self.connections.lock();
        // The calls in flight on a retired connection keep the connection open.
        connections.retain(|connection| !connection.is_retired());
        let least_busy = connections
            .iter()
            .filter(|connection| connection.is_driven_here())
            .filter(|connection| connection.in_flight() < self.max_in_flight)
            .min_by_key(|connection| connection.in_flight());
        let connection = match least_busy {
            Some(idle) if idle.in_flight() == 0 => Arc::clone(idle),
            Some(busy) if connections.len() >= self.max_connections => Arc::clone(busy),
            // The caller holds a permit. If all connections are full, their number must therefore
            // be less than `max_connections`.
            _ => {
                if connections.len() >= self.max_connections {
                    // The other connections belong to runtimes that may not be running.
                    let idle = connections.iter().position(|one| one.is_idle());
                    drop(idle.map(|index| connections.remove(index)));
                }
                let connection = Arc::new(SharedConnection::new());
                connections.push(Arc::clone(&connection));
                connection
            }
        };
        // The call is counted under the lock, so that two callers cannot take the same slot.
        connection.slot(permit)
    }

    async fn connect(&self, deadlines: Deadlines<'_>) -> Result<MuxConnection, Failure> {
        deadlines.check_candidate()?;
        let connection = self.connector.connect().await.map_err(Failure::Connect)?;
        let connection = FramedConnection::new(connection, self.limits).decoding(self.bodies);
        let shared = Arc::<Shared>::default();
        let counters = Arc::clone(&self.counters);
        let driver = Driver::new(
            connection,
            Arc::clone(&shared),
            Arc::clone(&self.idle_limit),
            counters,
            self.connector.endpoint(),
        );
        Ok(MuxConnection::spawn(shared, driver))
    }

    /// Closes all idle connections, because a connection in use appears to be dead.
    ///
    /// The network may have dropped the state of all connections, for example while the machine was
    /// asleep.
    fn close_idle(&self) {
        let idle: Vec<_> = {
            let mut connections = self.connections.lock();
            let all = std::mem::take(&mut *connections).into_iter();
            let (idle, used) = all.partition(|one| one.is_idle());
            *connections = used;
            idle
        };
        drop(idle);
    }

    /// Returns the number of connections that have no calls.
    pub(super) fn idle(&self) -> usize {
        let connections = self.connections.lock();
        connections.iter().filter(|one| one.is_idle()).count()
    }

    /// Stops accepting calls, and closes each connection once its calls have ended.
    pub(super) fn drain(&self) {
        self.permits.close();
        // Calls in flight keep their connections open.
        let connections = std::mem::take(&mut *self.connections.lock());
        drop(connections);
    }
}
