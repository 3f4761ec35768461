//! A pool of connections that each serve one call at a time.

use std::{
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use agentwire_codec::FrameLimits;
use agentwire_transport::{Connector, Endpoint, internal::Mutex};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    client::{
        channel::failure::Failure,
        permits::{Permit, Permits},
        shared::Client,
        stats::{Counted, Counters},
    },
    connection::{Bodies, FramedConnection},
    deadline_timer::DeadlineTimer,
};

/// The idle connections to one endpoint, and the permits that limit the number of open connections.
///
/// A call leases a connection, and releases the lease after its answer. If the call is dropped, the
/// lease is dropped and the connection is closed, so that no late answer can reach another call.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    limits: FrameLimits,
    bodies: Bodies,
    idle_timeout: Duration,
    permits: Permits,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The idle connections, ordered by their last use. The connection at the end is reused first,
    /// so that surplus connections expire.
    idle: Vec<Idle>,
    /// The task that closes expired connections. The task runs while any connection is idle.
    reaper: Option<AbortOnDropHandle<()>>,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    connection: CountedConnection,
    since: Instant,
}

#[derive(Debug)]
struct CountedConnection {
    connection: FramedConnection,
    _counted: Counted,
}

/// A connection that is leased to one call.
#[derive(Debug)]
pub(in crate::client) struct Lease {
    pool: Arc<Pool>,
    connection: CountedConnection,
    /// The timer for the deadlines of the call. The timer belongs to the lease, because the next
    /// call may run on another runtime.
    timer: DeadlineTimer,
    /// Whether the connection was idle before. The server may have closed such a connection without
    /// the client noticing.
    pub(super) reused: bool,
    /// Whether the connection cannot be used by another call, for example because the server is
    /// about to close it.
    pub(super) spent: bool,
    _permit: Permit,
}

impl Pool {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        let counters = &client.counters;
        Self {
            connector,
            limits: client.config.frame_limits,
            bodies: client.config.bodies,
            idle_timeout: client.config.idle_timeout,
            permits: Permits::new(client.config.max_connections, Arc::clone(counters)),
            counters: Arc::clone(counters),
            state: Mutex::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    /// Returns the permits for open connections.
    pub(super) fn permits(&self) -> &Permits {
        &self.permits
    }

    /// Leases an idle connection that is still open. If there is none, returns the permit.
    pub(super) fn reuse(self: &Arc<Self>, permit: Permit) -> Result<Lease, Permit> {
        match self.take_idle() {
            Some(connection) => Ok(self.lease(connection, true, permit)),
            None => Err(permit),
        }
    }

    /// Opens a new connection and leases it.
    pub(super) async fn open(self: &Arc<Self>, permit: Permit) -> Result<Lease, Failure> {
        let connection = self.connector.connect().await.map_err(Failure::Connect)?;
        let connection = CountedConnection {
            connection: FramedConnection::new(connection, self.limits).decoding(self.bodies),
            _counted: self.counters.opened(),
        };
        Ok(self.lease(connection, false, permit))
    }

    fn lease(
        self: &Arc<Self>,
        connection: CountedConnection,
        reused: bool,
        permit: Permit,
    ) -> Lease {
        Lease {
            pool: Arc::clone(self),
            connection,
            timer: DeadlineTimer::default(),
            reused,
            spent: false,
            _permit: permit,
        }
    }

    /// Returns the number of idle connections.
    pub(super) fn idle(&self) -> usize {
        self.state.lock().idle.len()
    }

    /// Closes the pool and its idle connections. Leased connections are closed when they are
    /// released.
    pub(super) fn close(&self) {
        self.permits.close();
        let idle = {
            let mut state = self.state.lock();
            state.closed = true;
            state.reaper = None;
            std::mem::take(&mut state.idle)
        };
        drop(idle);
    }

    fn take_idle(&self) -> Option<CountedConnection> {
        loop {
            // The lock is released before the connection is checked or dropped.
            let idle = self.state.lock().idle.pop();
            let Idle {
                connection: mut counted,
                since,
            } = idle?;
            let idle_for = since.elapsed();
            // On a busy runtime the reaper may be late, so expired connections are dropped here.
            if idle_for >= self.idle_timeout {
                continue;
            }
            let is_idle_and_open = if idle_for < JUST_USED {
                counted.connection.is_idle_and_open_cached()
            } else {
                counted.connection.is_idle_and_open()
            };
            if is_idle_and_open {
                return Some(counted);
            }
            self.counters.lost();
        }
    }

    fn put_back(self: &Arc<Self>, connection: CountedConnection) {
        let mut state = self.state.lock();
        if state.closed || self.idle_timeout.is_zero() {
            drop(state);
            drop(connection);
            return;
        }
        let since = Instant::now();
        state.idle.push(Idle { connection, since });
        let is_running = |reaper: &AbortOnDropHandle<()>| !reaper.is_finished();
        if !state.reaper.as_ref().is_some_and(is_running) {
            // Outside a runtime no task can be spawned, but no call can be made there either.
            if let Ok(runtime) = Handle::try_current() {
                let reaper = runtime.spawn(reap(Arc::downgrade(self), since + self.idle_timeout));
                state.reaper = Some(AbortOnDropHandle::new(reaper));
            }
        }
    }

    /// Closes expired connections. Returns the time at which the next connection expires, or `None`
    /// if no connection is left.
    fn close_expired(&self) -> Option<Instant> {
        let (expired, next) = {
            let mut state = self.state.lock();
            // The connections are ordered by their last use, so the expired ones are at the front.
            let len = state
                .idle
                .partition_point(|idle| idle.since.elapsed() >= self.idle_timeout);
            let expired: Vec<Idle> = state.idle.drain(..len).collect();
            let oldest = state.idle.first();
            let next = oldest.map(|oldest| oldest.since + self.idle_timeout);
            if next.is_none() {
                state.reaper = None;
            }
            (expired, next)
        };
        drop(expired);
        next
    }
}

/// Closes expired connections until the pool is dropped or has no idle connection.
async fn reap(pool: Weak<Pool>, first: Instant) {
    let mut next = Some(first);
    while let Some(when) = next {
        sleep_until(when).await;
        next = pool.upgrade().and_then(|pool| pool.close_expired());
    }
}

impl Lease {
    pub(super) fn connection(&mut self) -> &mut FramedConnection {
        &mut self.connection.connection
    }

    /// Returns `Ready` once the deadline of the call has passed.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.timer.poll(cx, deadline)
    }

    /// Returns the connection to the pool, unless it is spent.
    pub(in crate::client::channel) fn release(self) {
        if !self.spent {
            self.pool.put_back(self.connection);
        }
    }

    /// Counts the connection as lost, which means that the client did not close it.
    pub(super) fn count_lost(&self) {
        self.pool.counters.lost();
    }
}

/// A connection that was used this recently is checked without a system call.
const JUST_USED: Duration = Duration::from_millis(1);
