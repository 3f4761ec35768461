//! Connections that serve one call at a time.

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
    connection::FramedConnection,
    deadline_timer::DeadlineTimer,
};

/// The idle connections to one endpoint, and permits for how many may be open.
///
/// A call leases a connection and releases it once it has its answer. A dropped call drops
/// its lease, which closes the connection: no late answer can reach another call.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    limits: FrameLimits,
    idle_timeout: Duration,
    permits: Permits,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The connection that was used last is at the end and is taken first, so that surplus
    /// connections expire.
    idle: Vec<Idle>,
    /// Closes expired connections. Runs while any connection is idle.
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

/// A connection on loan to one call.
#[derive(Debug)]
pub(in crate::client) struct Lease {
    pool: Arc<Pool>,
    connection: CountedConnection,
    /// The timer for the deadlines of the call. It ends with the lease, because the next lease may
    /// be in another runtime.
    timer: DeadlineTimer,
    /// Whether the connection had been idle: the server may have closed it unnoticed.
    pub(super) reused: bool,
    /// Whether no other call can use the connection, for example because the server is about to
    /// close it.
    pub(super) spent: bool,
    _permit: Permit,
}

impl Pool {
    pub(super) fn new(client: &Client, connector: Arc<dyn Connector>) -> Self {
        let counters = &client.counters;
        Self {
            connector,
            limits: client.config.frame_limits,
            idle_timeout: client.config.idle_timeout,
            permits: Permits::new(client.config.max_connections, Arc::clone(counters)),
            counters: Arc::clone(counters),
            state: Mutex::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    /// Returns the permits for connections, one for each.
    pub(super) fn permits(&self) -> &Permits {
        &self.permits
    }

    /// Leases an idle connection that is still open, or returns the permit.
    pub(super) fn reuse(self: &Arc<Self>, permit: Permit) -> Result<Lease, Permit> {
        match self.take_idle() {
            Some(connection) => Ok(self.lease(connection, true, permit)),
            None => Err(permit),
        }
    }

    /// Leases a new connection.
    pub(super) async fn open(self: &Arc<Self>, permit: Permit) -> Result<Lease, Failure> {
        let connection = self.connector.connect().await.map_err(Failure::Connect)?;
        let connection = CountedConnection {
            connection: FramedConnection::new(connection, self.limits),
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

    /// Returns how many connections are idle.
    pub(super) fn idle(&self) -> usize {
        self.state.lock().idle.len()
    }

    /// Leases no more connections, and closes the idle ones. Leased connections are closed when
    /// they are released.
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
            // The lock is free again before the connection is probed or dropped.
            let idle = self.state.lock().idle.pop();
            let Idle {
                connection: mut counted,
                since,
            } = idle?;
            let idle_for = since.elapsed();
            // The reaper may be late on a busy runtime.
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
            // Outside of a runtime no task can close the connection, and no call can be made
            // either.
            if let Ok(runtime) = Handle::try_current() {
                let reaper = runtime.spawn(reap(Arc::downgrade(self), since + self.idle_timeout));
                state.reaper = Some(AbortOnDropHandle::new(reaper));
            }
        }
    }

    /// Closes expired connections and returns when the next one expires, if any is left.
    fn close_expired(&self) -> Option<Instant> {
        let (expired, next) = {
            let mut state = self.state.lock();
            // The oldest connections come first.
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

/// Runs until the pool is dropped or has no idle connection.
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

    /// Returns `Ready` once the deadline of the call is reached.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.timer.poll(cx, deadline)
    }

    /// Gives the connection back to the pool.
    pub(in crate::client::channel) fn release(self) {
        if !self.spent {
            self.pool.put_back(self.connection);
        }
    }

    /// Counts the connection as lost, because the client has not closed it itself.
    pub(super) fn count_lost(&self) {
        self.pool.counters.lost();
    }
}

/// A connection that was used this recently is probed without a system call.
const JUST_USED: Duration = Duration::from_millis(1);
