//! A pool of connections, each of which serves one call at a time.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use agentwire_codec::FrameLimits;
use agentwire_transport::{Connector, Endpoint, internal::Mutex};
use tokio::time::Instant;

use crate::{
    client::{
        channel::{
            failure::Failure,
            idle_limit::{CROSSING, IdleLimit},
            reaper::{Expiring, Reaper},
        },
        permits::{Permit, Permits},
        shared::Client,
        stats::{Counters, OpenConnection},
    },
    connection::{Bodies, FramedConnection},
    deadline_timer::DeadlineTimer,
};

/// The idle connections to one endpoint, and the permits that limit the number of open connections.
///
/// A call leases a connection and releases the lease after the answer. If a call is dropped, its
/// connection is closed, so that no late answer can reach another call.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    limits: FrameLimits,
    bodies: Bodies,
    idle_limit: Arc<IdleLimit>,
    max_connections: usize,
    permits: Permits,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The idle connections, ordered by their last use. The most recently used connection is reused
    /// first, so that surplus connections expire.
    idle: Vec<Idle>,
    /// Closes the idle connections that expire.
    reaper: Reaper,
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
    open: OpenConnection,
}

/// The period in which a connection was idle.
#[derive(Debug, Clone, Copy)]
struct IdleTime {
    since: Instant,
    until: Instant,
}

/// A connection that is leased to one call.
#[derive(Debug)]
pub(in crate::client) struct Lease {
    pool: Arc<Pool>,
    connection: CountedConnection,
    /// The timer for the deadlines of the call. Each lease has its own timer, because the next call
    /// may run on another runtime.
    timer: DeadlineTimer,
    /// The idle period before this lease, or `None` if the connection is new.
    idle: Option<IdleTime>,
    /// Whether other calls must not use the connection, for example because the server is about to
    /// close it.
    pub(super) spent: bool,
    _permit: Permit,
}

impl State {
    /// Takes the most recently used connection that the current runtime can use.
    fn take_last(&mut self) -> Option<Idle> {
        let is_usable = |idle: &Idle| idle.connection.connection.is_driven_here();
        let index = self.idle.iter().rposition(is_usable)?;
        Some(self.idle.remove(index))
    }
}

impl Pool {
    pub(super) fn new(
        client: &Client,
        connector: Arc<dyn Connector>,
        idle_limit: Arc<IdleLimit>,
    ) -> Self {
        let counters = &client.counters;
        Self {
            connector,
            limits: client.config.frame_limits,
            bodies: client.config.bodies,
            idle_limit,
            max_connections: client.config.max_connections,
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

    /// Leases an idle connection that is still open, or returns the permit if there is no such
    /// connection.
    pub(super) fn reuse(self: &Arc<Self>, permit: Permit) -> Result<Lease, Permit> {
        match self.take_idle() {
            Some((connection, idle)) => Ok(self.lease(connection, Some(idle), permit)),
            None => Err(permit),
        }
    }

    /// Opens a new connection and leases it.
    pub(super) async fn open(self: &Arc<Self>, permit: Permit) -> Result<Lease, Failure> {
        self.make_room();
        let connection = self.connector.connect().await.map_err(Failure::Connect)?;
        let connection = CountedConnection {
            connection: FramedConnection::new(connection, self.limits).decoding(self.bodies),
            open: self.counters.opened(self.endpoint()),
        };
        Ok(self.lease(connection, None, permit))
    }

    fn lease(
        self: &Arc<Self>,
        connection: CountedConnection,
        idle: Option<IdleTime>,
        permit: Permit,
    ) -> Lease {
        Lease {
            pool: Arc::clone(self),
            connection,
            timer: DeadlineTimer::default(),
            idle,
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
            state.reaper.stop();
            std::mem::take(&mut state.idle)
        };
        drop(idle);
    }

    fn take_idle(self: &Arc<Self>) -> Option<(CountedConnection, IdleTime)> {
        loop {
            // The lock is released before the connection is checked or dropped.
            let idle = self.state.lock().take_last()?;
            let Idle {
                connection: mut counted,
                since,
            } = idle;
            let now = Instant::now();
            let idle_for = now - since;
            // The reaper may run late on a busy runtime, so expired connections are dropped here.
            if idle_for >= self.idle_limit.at(now) {
                continue;
            }
            let is_idle_and_open = if idle_for < JUST_USED {
                counted.connection.is_idle_and_open_cached()
            } else {
                counted.connection.is_idle_and_open()
            };
            if is_idle_and_open {
                return Some((counted, IdleTime { since, until: now }));
            }
            counted.open.lost();
            self.counters.lost();
            self.server_closed_after(idle_for, now);
        }
    }

    /// Closes the least recently used idle connection if a new connection would exceed the limit.
    ///
    /// The limit can be exceeded only if all idle connections belong to other runtimes.
    fn make_room(&self) {
        let leased = self.max_connections - self.permits.available().min(self.max_connections);
        let evicted = {
            let mut state = self.state.lock();
            let is_full =
                !state.idle.is_empty() && state.idle.len() + leased > self.max_connections;
            is_full.then(|| state.idle.remove(0))
        };
        drop(evicted);
    }

    /// Closes the connections that became idle at `since` or earlier.
    fn close_idle_since(&self, since: Instant) {
        let suspects: Vec<Idle> = {
            let mut state = self.state.lock();
            // The connections are ordered by their last use.
            let len = state.idle.partition_point(|idle| idle.since <= since);
            state.idle.drain(..len).collect()
        };
        if !suspects.is_empty() {
            let (endpoint, closed) = (self.endpoint(), suspects.len());
            tracing::debug!(%endpoint, closed, "closing idle connections that may also be dead");
        }
    }

    fn put_back(self: &Arc<Self>, connection: CountedConnection) {
        let mut state = self.state.lock();
        if state.closed || self.idle_limit.is_zero() {
            drop(state);
            drop(connection);
            return;
        }
        let since = Instant::now();
        state.idle.push(Idle { connection, since });
        if !state.reaper.is_running() {
            self.start_reaper(&mut state, since);
        }
    }

    /// Starts the reaper, if there are idle connections. Any previous task is aborted.
    fn start_reaper(self: &Arc<Self>, state: &mut State, now: Instant) {
        if let Some(oldest) = state.idle.first() {
            let expiry = oldest.since + self.idle_limit.at(now);
            state.reaper.start(self, expiry);
        }
    }

    /// Records that the server has closed a connection that was idle for `idle_for`.
    fn server_closed_after(self: &Arc<Self>, idle_for: Duration, now: Instant) {
        self.idle_limit.server_closed_after(idle_for, now);
        // Replace the running task, which uses the previous limit.
        let mut state = self.state.lock();
        state.reaper.stop();
        self.start_reaper(&mut state, now);
    }
}

impl Expiring for Pool {
    fn close_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let limit = self.idle_limit.at(now);
        let (expired, next) = {
            let mut state = self.state.lock();
            // The connections are ordered by their last use, so expired connections are at the
            // front.
            let len = state.idle.partition_point(|idle| now - idle.since >= limit);
            let expired: Vec<Idle> = state.idle.drain(..len).collect();
            let oldest = state.idle.first();
            let next = oldest.map(|oldest| oldest.since + limit);
            if next.is_none() {
                state.reaper.stop();
            }
            (expired, next)
        };
        drop(expired);
        next
    }
}

impl Lease {
    pub(super) fn connection(&mut self) -> &mut FramedConnection {
        &mut self.connection.connection
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.pool.counters
    }

    /// Reports the bytes that were received after the first `before` bytes of the connection.
    pub(super) fn count_received_since(&self, before: u64) {
        let received = self.connection.connection.received();
        self.pool.counters.received(received - before);
    }

    /// Returns `Ready` once the deadline of the call has passed.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.timer.poll(cx, deadline)
    }

    /// Returns the connection to the pool unless the connection is spent.
    pub(in crate::client::channel) fn release(self) {
        if !self.spent {
            self.pool.put_back(self.connection);
        }
    }

    /// Returns whether the connection was idle before this lease. The server may have closed a
    /// reused connection without the client noticing.
    pub(super) fn is_reused(&self) -> bool {
        self.idle.is_some()
    }

    /// Handles the end of the connection before the first answer.
    pub(super) fn lost_before_answer(&self) {
        self.count_lost();
        let now = Instant::now();
        if let Some(IdleTime { since, until }) = self.idle {
            if now - until < CROSSING {
                self.pool.server_closed_after(now - since, now);
            }
        }
    }

    /// Handles a call that timed out before the first answer.
    ///
    /// If a reused connection has received nothing, the network may have dropped its state, for
    /// example while the machine was asleep. All connections that have been idle for longer are
    /// probably also dead. The pool closes these connections so that no further calls time out.
    pub(super) fn timed_out_before_answer(&self) {
        let is_silent = !self.connection.connection.has_partial_frame();
        if let Some(idle) = self.idle.filter(|_| is_silent) {
            self.pool.close_idle_since(idle.since);
        }
    }

    /// Counts the connection as lost.
    pub(super) fn count_lost(&self) {
        self.connection.open.lost();
        self.pool.counters.lost();
    }
}

/// The maximum idle time of a connection that is checked without a system call.
const JUST_USED: Duration = Duration::from_millis(1);
