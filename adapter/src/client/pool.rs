use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use agentwire_codec::FrameLimits;
use agentwire_transport::{Connector, Error as TransportError, internal::Mutex};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use super::{
    counters::{Counted, Counters},
    turns::{Turn, Turns},
};
use crate::{connection::FramedConnection, deadline_timer::DeadlineTimer};

/// The connections of one client that are for one call at a time: those that are free, and how many
/// there may be.
///
/// A call takes one for itself and gives it back when it has its answer. A call that is given up drops it,
/// which closes it: no late answer can reach another call.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    limits: FrameLimits,
    /// How long a connection is kept that no call uses.
    idle_limit: Duration,
    turns: Turns,
    counters: Arc<Counters>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one used last is at the end and is taken first, so that those beyond need grow old.
    idle: Vec<Idle>,
    /// Closes those that have grown old. It lives as long as there are any idle ones.
    reaper: Option<AbortHandle>,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Open,
    since: Instant,
}

/// A connection, counted.
#[derive(Debug)]
struct Open {
    link: FramedConnection,
    _counted: Counted,
}

/// A connection on loan to one call.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    connection: Open,
    /// For its deadlines. It ends with the loan, because the next one may be in another runtime.
    alarm: DeadlineTimer,
    /// Its server may have closed it while it was idle, without this side knowing.
    pub(super) reused: bool,
    /// It is of no use to another call: its server is about to close it, say.
    pub(super) spent: bool,
    _turn: Turn,
}

/// Servers close connections that are idle for 60 s (PROTOCOL 8.2); don't meet them half-way.
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(50);

/// A connection that was used as recently as this is not asked for news by a system call of its own.
const JUST_USED: Duration = Duration::from_millis(1);

impl Pool {
    pub(super) fn new(
        connector: Arc<dyn Connector>,
        limits: FrameLimits,
        max_connections: usize,
        idle_limit: Duration,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            connector,
            limits,
            idle_limit,
            turns: Turns::new(max_connections, Arc::clone(&counters)),
            counters,
            state: Mutex::default(),
        }
    }

    pub(super) fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    /// The right to have a connection, each for one.
    pub(super) fn turns(&self) -> &Turns {
        &self.turns
    }

    /// A free connection that is alive; the turn is returned if there is none.
    pub(super) fn reuse(self: &Arc<Self>, turn: Turn) -> Result<Lease, Turn> {
        match self.take_idle() {
            Some(connection) => Ok(self.lend(connection, true, turn)),
            None => Err(turn),
        }
    }

    /// A new connection.
    pub(super) async fn open(self: &Arc<Self>, turn: Turn) -> Result<Lease, TransportError> {
        let connection = Open {
            link: FramedConnection::new(self.connector.connect().await?, self.limits),
            _counted: self.counters.opened(),
        };
        Ok(self.lend(connection, false, turn))
    }

    fn lend(self: &Arc<Self>, connection: Open, reused: bool, turn: Turn) -> Lease {
        Lease {
            pool: Arc::clone(self),
            connection,
            alarm: DeadlineTimer::default(),
            reused,
            spent: false,
            _turn: turn,
        }
    }

    /// How many connections wait for a call.
    pub(super) fn idle(&self) -> usize {
        self.state().idle.len()
    }

    /// Gives out no more connections, and closes those that are idle. Those on loan are closed when they come
    /// back.
    pub(super) fn close(&self) {
        self.turns.close();
        let idle = {
            let mut state = self.state();
            state.closed = true;
            if let Some(reaper) = state.reaper.take() {
                reaper.abort();
            }
            std::mem::take(&mut state.idle)
        };
        drop(idle);
    }

    fn take_idle(&self) -> Option<Open> {
        loop {
            // The lock is free again before the connection is looked at or dropped.
            let idle = self.state().idle.pop();
            let Idle {
                mut connection,
                since,
            } = idle?;
            let idle_for = since.elapsed();
            // The reaper may be late, on a busy runtime.
            if idle_for >= self.idle_limit {
                continue;
            }
            let is_idle_and_open = match idle_for < JUST_USED {
                true => connection.link.is_idle_and_open_cached(),
                false => connection.link.is_idle_and_open(),
            };
            if is_idle_and_open {
                return Some(connection);
            }
            self.counters.lost();
        }
    }

    fn put_back(self: &Arc<Self>, connection: Open) {
        let mut state = self.state();
        if state.closed || self.idle_limit.is_zero() {
            drop(state);
            drop(connection);
            return;
        }
        let since = Instant::now();
        state.idle.push(Idle { connection, since });
        if state.reaper.as_ref().is_none_or(AbortHandle::is_finished) {
            // Without a runtime there is nobody to close them, and nobody to call with them either.
            if let Ok(runtime) = Handle::try_current() {
                let reaper = runtime.spawn(reap(Arc::downgrade(self), since + self.idle_limit));
                state.reaper = Some(reaper.abort_handle());
            }
        }
    }

    /// Closes what has been idle for too long, and tells when to look again, if anything is left.
    fn close_expired(&self) -> Option<Instant> {
        let (expired, next) = {
            let mut state = self.state();
            // They stand in front, the oldest first.
            let len = state
                .idle
                .partition_point(|idle| idle.since.elapsed() >= self.idle_limit);
            let expired: Vec<Idle> = state.idle.drain(..len).collect();
            let oldest = state.idle.first();
            let next = oldest.map(|oldest| oldest.since + self.idle_limit);
            if next.is_none() {
                state.reaper = None;
            }
            (expired, next)
        };
        drop(expired);
        next
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Ends with the pool, or when nothing is idle any more.
async fn reap(pool: std::sync::Weak<Pool>, first: Instant) {
    let mut next = Some(first);
    while let Some(when) = next {
        sleep_until(when).await;
        next = pool.upgrade().and_then(|pool| pool.close_expired());
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Lease {
    pub(super) fn link(&mut self) -> &mut FramedConnection {
        &mut self.connection.link
    }

    /// `Ready` once the deadline of the call is reached.
    pub(super) fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.alarm.poll(cx, deadline)
    }

    /// Gives the connection back, for the next call.
    pub(super) fn release(self) {
        if !self.spent {
            self.pool.put_back(self.connection);
        }
    }

    /// Drops a connection that has ended without the client's doing.
    pub(super) fn lost(self) {
        self.pool.counters.lost();
    }
}
