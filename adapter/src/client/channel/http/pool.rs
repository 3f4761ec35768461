//! The connections to one endpoint: [`Pool`].

use std::{
    future::{Future, poll_fn},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use agentwire_transport::{Connector, Endpoint, UrlScheme, internal::Mutex};
use http::Request;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{
    http1::{Answered, Http1, Payload},
    http2::{Http2, Slot},
};
use crate::client::{
    channel::{
        deadlines::Deadlines,
        failure::Failure,
        idle_limit::{CROSSING, IdleLimit},
        reaper::{Expiring, Reaper},
        wire::Shared,
    },
    permits::{Permit, Permits},
    shared::Client,
    stats::Counters,
};

/// The connections to one endpoint, and the permits that limit the number of calls in flight.
///
/// Calls of HTTP/1.1 have a connection each. Calls of HTTP/2 share as few connections as possible.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    scheme: UrlScheme,
    idle_limit: IdleLimit,
    max_connections: usize,
    /// How many calls share a connection of HTTP/2.
    max_calls: usize,
    /// The permits of all calls, whatever the version of HTTP.
    calls: Permits,
    /// The permits of the calls that need a connection of their own, or open a shared one.
    connections: Permits,
    counters: Arc<Counters>,
    /// Whether the server speaks HTTP/1.1 only. A stale value costs one connection.
    is_http1_only: AtomicBool,
    state: Mutex<State>,
    /// Held while a connection of HTTP/2 is opened, so that calls do not open one each.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The idle connections of HTTP/1.1, ordered by their last use.
    idle: Vec<Idle>,
    /// The connections of HTTP/2.
    shared: Vec<Arc<Http2>>,
    /// Closes the connections that expire.
    reaper: Reaper,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    /// The body of the last answer, of which the end may not have been read.
    rest: Option<Incoming>,
    since: Instant,
}

/// An idle connection that was taken from the pool.
struct Taken {
    connection: Http1,
    /// When the connection became idle.
    since: Instant,
    now: Instant,
}

/// A connection that serves one call.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    pub(super) connection: Leased,
    /// When the connection became idle before this lease, if it was.
    idle_since: Option<Instant>,
    leased: Instant,
    /// The number of bytes that the connection had received when this lease received its last ones.
    received: u64,
    permits: LeasePermits,
}

/// The permits of a call, and of its own connection if it has one.
#[derive(Debug)]
struct LeasePermits {
    call: Permit,
    _connection: Option<Permit>,
}

/// The connection of a lease.
#[derive(Debug)]
pub(super) enum Leased {
    Http1(Box<Http1>),
    Http2(Slot),
}

impl Pool {
    pub(super) fn new(
        client: &Client,
        connector: Arc<dyn Connector>,
        scheme: UrlScheme,
        idle_limit: IdleLimit,
    ) -> Self {
        let (config, counters) = (&client.config, &client.counters);
        let (max_connections, max_calls) = match scheme {
            UrlScheme::Http => (config.max_connections, 1),
            _ => (config.max_connections, config.streams_per_connection()),
        };
        let calls = max_connections.saturating_mul(max_calls);
        Self {
            connector,
            scheme,
            idle_limit,
            max_connections,
            max_calls,
            calls: Permits::new(calls, Arc::clone(counters)),
            connections: Permits::new(max_connections, Arc::clone(counters)),
            counters: Arc::clone(counters),
            is_http1_only: AtomicBool::new(false),
            state: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        self.connector.endpoint()
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the number of open connections that no call uses.
    pub(super) fn idle(&self) -> usize {
        let state = self.state.lock();
        let shared = state.shared.iter().filter(|one| one.in_flight() == 0);
        state.idle.len() + shared.count()
    }

    /// Closes the pool and its idle connections. Connections in use are closed after their calls.
    pub(super) fn close(&self) {
        self.calls.close();
        self.connections.close();
        let mut state = self.state.lock();
        state.closed = true;
        let reaper = std::mem::take(&mut state.reaper);
        let shared = std::mem::take(&mut state.shared);
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop((reaper, shared, idle));
    }

    /// Leases a connection.
    pub(super) async fn lease(
        self: &Arc<Self>,
        deadlines: Deadlines<'_>,
    ) -> Result<Lease, Failure> {
        let call = deadlines.acquire(&self.calls).await?;
        if let Some(slot) = self.take_shared() {
            let now = Instant::now();
            return Ok(self.leased(Leased::Http2(slot), now, Some(now), call, None));
        }
        let connection = Some(deadlines.acquire(&self.connections).await?);
        if let Some(idle) = poll_fn(|cx| Poll::Ready(self.take_idle(cx))).await {
            let (since, now) = (idle.since, idle.now);
            let idle = Leased::Http1(Box::new(idle.connection));
            return Ok(self.leased(idle, now, Some(since), call, connection));
        }
        deadlines.check_candidate()?;
        let opened = self.open(deadlines).await?;
        Ok(self.leased(opened, Instant::now(), None, call, connection))
    }

    fn leased(
        self: &Arc<Self>,
        connection: Leased,
        leased: Instant,
        idle_since: Option<Instant>,
        call: Permit,
        permit: Option<Permit>,
    ) -> Lease {
        // A shared connection is counted by the pool, unless it serves only one call.
        let is_owned = matches!(connection, Leased::Http1(_)) || self.idle_limit.is_zero();
        let received = connection.shared().received();
        Lease {
            pool: Arc::clone(self),
            connection,
            idle_since,
            leased,
            received,
            permits: LeasePermits {
                call,
                _connection: permit.filter(|_| is_owned),
            },
        }
    }

    async fn open(self: &Arc<Self>, deadlines: Deadlines<'_>) -> Result<Leased, Failure> {
        let may_share = match self.scheme {
            UrlScheme::Http => false,
            _ => !self.is_http1_only.load(Relaxed),
        };
        if !may_share {
            return deadlines.connect(self.endpoint(), self.connect()).await;
        }
        let connecting = async {
            let opening = self.opening.lock().await;
            if let Some(slot) = self.take_shared() {
                return Ok(Leased::Http2(slot));
            }
            // Connections of HTTP/1.1 are not shared, so they need not wait for each other.
            let _opening = (!self.is_http1_only.load(Relaxed)).then_some(opening);
            self.connect().await
        };
        deadlines.connect(self.endpoint(), connecting).await
    }

    async fn connect(self: &Arc<Self>) -> Result<Leased, Failure> {
        let connection = self.connector.connect().await.map_err(Failure::Connect)?;
        let open = self.counters.opened(self.endpoint());
        let is_http2 = match self.scheme {
            UrlScheme::H2c => !self.is_http1_only.load(Relaxed),
            UrlScheme::Https => {
                let is_http2 = connection.protocol() == Some(b"h2");
                self.is_http1_only.store(!is_http2, Relaxed);
                is_http2
            }
            _ => false,
        };
        let failed = |error: hyper::Error| Failure::Unsent(io::Error::other(error));
        if !is_http2 {
            let connection = Http1::open(connection, open).await.map_err(failed)?;
            return Ok(Leased::Http1(Box::new(connection)));
        }
        let opened = Http2::open(connection, self.max_calls, open).await;
        let connection = opened.map_err(|error| Failure::Unsent(io::Error::other(error)))?;
        let connection = Arc::new(connection);
        let mut state = self.state.lock();
        let slot = connection.slot();
        if !state.closed && !self.idle_limit.is_zero() {
            state.shared.push(connection);
            self.start_reaper(&mut state);
        }
        Ok(Leased::Http2(slot))
    }

    /// Records whether the server at an endpoint `h2c://` speaks HTTP/1.1 only.
    pub(super) fn use_http1(&self, only: bool) {
        self.is_http1_only.store(only, Relaxed);
        let shared = std::mem::take(&mut self.state.lock().shared);
        drop(shared);
    }

    pub(super) fn is_h2c(&self) -> bool {
        self.scheme == UrlScheme::H2c
    }

    /// Takes a slot on the connection of HTTP/2 with the most calls that allows another one. At the
    /// limit of connections, takes one on the least busy connection. Returns `None` if a connection
    /// must be opened.
    fn take_shared(&self) -> Option<Slot> {
        let mut state = self.state.lock();
        let closed = remove(&mut state.shared, |one| !one.is_open());
        let here = || state.shared.iter().filter(|one| one.is_driven_here());
        let with_room = here().filter(|one| one.has_room(self.max_calls));
        let found = with_room.max_by_key(|one| one.in_flight()).or_else(|| {
            let is_full = state.shared.len() >= self.max_connections;
            here().filter(|_| is_full).min_by_key(|one| one.in_flight())
        });
        let slot = found.map(Http2::slot);
        // Closing a connection takes other locks.
        drop(state);
        drop(closed);
        slot
    }

    fn take_idle(&self, cx: &mut Context<'_>) -> Option<Taken> {
        loop {
            // The lock is released before the connection is checked or dropped.
            let idle = {
                let mut state = self.state.lock();
                let is_usable = |idle: &Idle| idle.connection.shared().is_driven_here();
                let index = state.idle.iter().rposition(is_usable)?;
                state.idle.remove(index)
            };
            let Idle {
                mut connection,
                rest,
                since,
            } = idle;
            let now = Instant::now();
            let idle_for = now - since;
            if idle_for >= self.idle_limit.at(now) {
                continue;
            }
            let is_read = rest.is_none_or(|mut rest| connection.poll_rest(&mut rest, cx));
            if is_read && connection.is_idle_and_open(cx) {
                return Some(Taken {
                    connection,
                    since,
                    now,
                });
            }
            connection.open.lost();
            self.counters.lost();
            self.idle_limit.server_closed_after(idle_for, now);
        }
    }

    fn put_back(self: &Arc<Self>, connection: Http1, rest: Option<Incoming>) {
        let mut state = self.state.lock();
        if state.closed || self.idle_limit.is_zero() {
            drop(state);
            drop((connection, rest));
            return;
        }
        let since = Instant::now();
        state.idle.push(Idle {
            connection,
            rest,
            since,
        });
        self.start_reaper(&mut state);
    }

    fn start_reaper(self: &Arc<Self>, state: &mut State) {
        if !state.reaper.is_running() {
            let now = Instant::now();
            state.reaper.start(self, now + self.idle_limit.at(now));
        }
    }
}

impl Expiring for Pool {
    fn close_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let limit = self.idle_limit.at(now);
        let (expired, next) = {
            let mut state = self.state.lock();
            // The connections are ordered by their last use.
            let len = state.idle.partition_point(|idle| now - idle.since >= limit);
            let idle: Vec<Idle> = state.idle.drain(..len).collect();
            let is_expired = |one: &Http2| {
                let since = one.idle_since();
                since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
            };
            let shared = remove(&mut state.shared, is_expired);
            let oldest = state.idle.first().map(|oldest| oldest.since);
            let shared_since = state
                .shared
                .iter()
                .map(|one| one.idle_since().unwrap_or(now));
            let next = shared_since.chain(oldest).min().map(|since| since + limit);
            if next.is_none() {
                state.reaper.stop();
            }
            ((idle, shared), next)
        };
        drop(expired);
        next
    }
}

/// Removes connections, and returns them so that they are dropped without a lock.
fn remove(from: &mut Vec<Arc<Http2>>, is_removed: impl Fn(&Http2) -> bool) -> Vec<Arc<Http2>> {
    let mut removed = Vec::new();
    let mut index = 0;
    while let Some(connection) = from.get(index) {
        if is_removed(connection) {
            removed.push(from.swap_remove(index));
        } else {
            index += 1;
        }
    }
    removed
}

impl Leased {
    fn shared(&self) -> &Arc<Shared> {
        match self {
            Self::Http1(connection) => connection.shared(),
            Self::Http2(connection) => connection.shared(),
        }
    }
}

impl Lease {
    pub(super) fn counters(&self) -> &Counters {
        &self.pool.counters
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        self.connection.shared()
    }

    /// Records that bytes of the answer have arrived.
    pub(super) fn progressed(&mut self) {
        self.received = self.shared().received();
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.connection, Leased::Http2(_))
    }

    /// Returns whether the connection was in use before this lease.
    pub(super) fn is_reused(&self) -> bool {
        self.idle_since.is_some()
    }

    /// Polls `poll`, and drives the connection if it has no task of its own. `poll` learns whether
    /// the connection has ended.
    pub(super) fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.connection {
            Leased::Http1(connection) => connection.poll_with(cx, poll),
            Leased::Http2(_) => poll(cx, false),
        }
    }

    /// Polls a body, and drives the connection only if nothing of the body has arrived. The body of
    /// a short answer arrives with its head.
    pub(super) fn poll_body<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match &mut self.connection {
            Leased::Http1(connection) => match poll(cx) {
                Poll::Ready(arrived) => Poll::Ready(arrived),
                Poll::Pending => connection.poll_with(cx, |cx, _| poll(cx)),
            },
            Leased::Http2(_) => poll(cx),
        }
    }

    /// Returns the connection to the pool. `rest` is the body of the answer, if its end has not
    /// been read. The call counts as in flight until the permit is dropped.
    pub(super) fn release(self, rest: Option<Incoming>) -> Permit {
        if let Leased::Http1(connection) = self.connection {
            self.pool.put_back(*connection, rest);
        }
        self.permits.call
    }

    /// Sends a request on a connection of HTTP/1.1.
    pub(super) fn send(
        &mut self,
        request: Request<Payload>,
    ) -> Option<impl Future<Output = Answered> + Send + use<>> {
        match &mut self.connection {
            Leased::Http1(connection) => Some(connection.send(request)),
            Leased::Http2(_) => None,
        }
    }

    /// Handles the timeout of a call. A connection of HTTP/2 from which nothing has arrived while
    /// the call waited may be dead, so it serves no further calls.
    pub(super) fn timed_out(&self) {
        if let Leased::Http2(slot) = &self.connection {
            if slot.shared().received() == self.received && self.retire(slot) {
                let endpoint = self.pool.endpoint();
                tracing::debug!(%endpoint, "connection of HTTP/2 is silent; the next call opens another");
            }
        }
    }

    /// Removes a connection of HTTP/2 from the pool. The calls on it go on. Returns whether the
    /// pool had the connection.
    fn retire(&self, slot: &Slot) -> bool {
        let removed = remove(&mut self.pool.state.lock().shared, |one| {
            std::ptr::eq(one, &**slot.connection())
        });
        !removed.is_empty()
    }

    /// Handles a failure before the end of the answer. A connection of HTTP/2 goes on if only the
    /// stream of the call has failed.
    pub(super) fn failed(&self, failure: &Failure) {
        match &self.connection {
            Leased::Http1(connection) => connection.open.lost(),
            Leased::Http2(slot) => {
                if slot.is_open() && !failure.is_unsent() {
                    return;
                }
                // Otherwise, the next attempt would use the connection again.
                if !self.retire(slot) {
                    return;
                }
                slot.open.lost();
            }
        }
        self.pool.counters.lost();
        let now = Instant::now();
        if let (Some(since), Leased::Http1(_)) = (self.idle_since, &self.connection) {
            if now - self.leased < CROSSING {
                self.pool.idle_limit.server_closed_after(now - since, now);
            }
        }
    }
}
