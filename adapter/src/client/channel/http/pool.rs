//! The connections to one endpoint: [`Pool`].

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use agentwire_transport::{Connector, Endpoint, UrlScheme, internal::Mutex};
use hyper::body::Incoming;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connection::{Http1, Http2},
    wire::Shared,
};
use crate::client::{
    channel::{deadlines::Deadlines, failure::Failure, idle_limit::IdleLimit},
    permits::{Permit, Permits},
    shared::Client,
    stats::Counters,
};

/// The connections to one endpoint, and the permits that limit the number of calls in flight.
///
/// Calls of HTTP/1.1 have a connection each, and calls of HTTP/2 share one.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Arc<dyn Connector>,
    scheme: UrlScheme,
    idle_limit: IdleLimit,
    permits: Permits,
    counters: Arc<Counters>,
    /// Whether the server at an endpoint `h2c://` speaks HTTP/1.1 only. A stale value costs one
    /// connection.
    is_http1_only: AtomicBool,
    state: Mutex<State>,
    /// Held while a connection of HTTP/2 is opened, so that calls do not open one each.
    opening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// The idle connections of HTTP/1.1, ordered by their last use.
    idle: Vec<Idle>,
    shared: Option<Arc<Http2>>,
    /// The task that closes expired connections. The task runs while there are idle connections.
    reaper: Option<AbortOnDropHandle<()>>,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    connection: Http1,
    /// The body of the last answer, of which the end may not have been read.
    rest: Option<Incoming>,
    since: Instant,
}

/// A connection that serves one call.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    pub(super) connection: Leased,
    /// When the connection became idle before this lease, if it was.
    idle_since: Option<Instant>,
    leased: Instant,
    _permit: Permit,
}

/// The connection of a lease.
#[derive(Debug)]
pub(super) enum Leased {
    Http1(Box<Http1>),
    Http2(Arc<Http2>),
}

impl Pool {
    pub(super) fn new(
        client: &Client,
        connector: Arc<dyn Connector>,
        scheme: UrlScheme,
        idle_limit: IdleLimit,
    ) -> Self {
        let counters = &client.counters;
        Self {
            connector,
            scheme,
            idle_limit,
            permits: Permits::new(client.config.max_connections, Arc::clone(counters)),
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
        // Each call holds a reference to the shared connection.
        let is_idle = |shared: &Arc<Http2>| Arc::strong_count(shared) == 1;
        state.idle.len() + usize::from(state.shared.as_ref().is_some_and(is_idle))
    }

    /// Closes the pool and its idle connections. Connections in use are closed after their calls.
    pub(super) fn close(&self) {
        self.permits.close();
        let mut state = self.state.lock();
        state.closed = true;
        let closed = (state.reaper.take(), state.shared.take());
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop((closed, idle));
    }

    /// Leases a connection.
    pub(super) async fn lease(
        self: &Arc<Self>,
        deadlines: Deadlines<'_>,
    ) -> Result<Lease, Failure> {
        let permit = deadlines.acquire(&self.permits).await?;
        if let Some((connection, since)) = poll_fn(|cx| Poll::Ready(self.take_idle(cx))).await {
            return Ok(self.leased(connection, Some(since), permit));
        }
        deadlines.check_candidate()?;
        let opened = self.open(deadlines).await?;
        Ok(self.leased(opened, None, permit))
    }

    fn leased(
        self: &Arc<Self>,
        connection: Leased,
        idle_since: Option<Instant>,
        permit: Permit,
    ) -> Lease {
        Lease {
            pool: Arc::clone(self),
            connection,
            idle_since,
            leased: Instant::now(),
            _permit: permit,
        }
    }

    async fn open(&self, deadlines: Deadlines<'_>) -> Result<Leased, Failure> {
        let may_share = match self.scheme {
            UrlScheme::Http => false,
            UrlScheme::H2c => !self.is_http1_only.load(Relaxed),
            _ => true,
        };
        if !may_share {
            return deadlines.connect(self.endpoint(), self.connect()).await;
        }
        let connecting = async {
            let _opening = self.opening.lock().await;
            match self.take_shared() {
                Some(shared) => Ok(Leased::Http2(shared)),
                None => self.connect().await,
            }
        };
        deadlines.connect(self.endpoint(), connecting).await
    }

    async fn connect(&self) -> Result<Leased, Failure> {
        let connection = self.connector.connect().await.map_err(Failure::Connect)?;
        let open = self.counters.opened(self.endpoint());
        let is_http2 = match self.scheme {
            UrlScheme::H2c => !self.is_http1_only.load(Relaxed),
            UrlScheme::Https => connection.protocol() == Some(b"h2"),
            _ => false,
        };
        let failed = |error: hyper::Error| Failure::Unsent(io::Error::other(error));
        if !is_http2 {
            let connection = Http1::open(connection, open).await.map_err(failed)?;
            return Ok(Leased::Http1(Box::new(connection)));
        }
        let connection = Http2::open(connection, open).await.map_err(failed)?;
        let connection = Arc::new(connection);
        let mut state = self.state.lock();
        if !state.closed {
            state.shared = Some(Arc::clone(&connection));
        }
        Ok(Leased::Http2(connection))
    }

    /// Records whether the server at an endpoint `h2c://` speaks HTTP/1.1 only.
    pub(super) fn use_http1(&self, only: bool) {
        self.is_http1_only.store(only, Relaxed);
        let shared = self.state.lock().shared.take();
        drop(shared);
    }

    pub(super) fn is_h2c(&self) -> bool {
        self.scheme == UrlScheme::H2c
    }

    fn take_shared(&self) -> Option<Arc<Http2>> {
        let shared = self.state.lock().shared.clone()?;
        if shared.is_open() {
            return Some(shared);
        }
        let closed = self.state.lock().shared.take();
        drop(closed);
        None
    }

    fn take_idle(self: &Arc<Self>, cx: &mut Context<'_>) -> Option<(Leased, Instant)> {
        if let Some(shared) = self.take_shared() {
            return Some((Leased::Http2(shared), Instant::now()));
        }
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
                return Some((Leased::Http1(Box::new(connection)), since));
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
        let is_running = |reaper: &AbortOnDropHandle<()>| !reaper.is_finished();
        if !state.reaper.as_ref().is_some_and(is_running) {
            // No task can be spawned outside a runtime. The task is then started when the next
            // connection becomes idle.
            if let Ok(runtime) = Handle::try_current() {
                let first = since + self.idle_limit.at(since);
                let reaper = runtime.spawn(reap(Arc::downgrade(self), first));
                state.reaper = Some(AbortOnDropHandle::new(reaper));
            }
        }
    }

    /// Closes expired connections. Returns the time at which the next connection expires, or `None`
    /// if no idle connection is left.
    fn close_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        let limit = self.idle_limit.at(now);
        let (expired, next) = {
            let mut state = self.state.lock();
            // The connections are ordered by their last use.
            let len = state.idle.partition_point(|idle| now - idle.since >= limit);
            let expired: Vec<Idle> = state.idle.drain(..len).collect();
            let next = state.idle.first().map(|oldest| oldest.since + limit);
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
    pub(super) fn counters(&self) -> &Counters {
        &self.pool.counters
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        match &self.connection {
            Leased::Http1(connection) => connection.shared(),
            Leased::Http2(connection) => connection.shared(),
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.connection, Leased::Http2(_))
    }

    /// Returns whether the connection was in use before this lease.
    pub(super) fn is_reused(&self) -> bool {
        self.idle_since.is_some()
    }

    /// Makes progress. Returns `Ready` once the connection has ended.
    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.connection {
            Leased::Http1(connection) => connection.poll_drive(cx),
            Leased::Http2(_) => Poll::Pending,
        }
    }

    /// Returns the connection to the pool. `rest` is the body of the answer, if its end has not
    /// been read.
    pub(super) fn release(self, rest: Option<Incoming>) {
        if let Leased::Http1(connection) = self.connection {
            self.pool.put_back(*connection, rest);
        }
    }

    /// Handles the end of the connection before the answer.
    pub(super) fn lost(&self) {
        match &self.connection {
            Leased::Http1(connection) => connection.open.lost(),
            Leased::Http2(connection) => connection.open.lost(),
        }
        self.pool.counters.lost();
        let now = Instant::now();
        if let (Some(since), Leased::Http1(_)) = (self.idle_since, &self.connection) {
            // If the connection ends later than this, the cause is not that it was idle.
            if now - self.leased < CROSSING {
                self.pool.idle_limit.server_closed_after(now - since, now);
            }
        }
    }
}

/// The maximum time after the start of a call in which the server may still close the connection
/// because it was idle.
const CROSSING: std::time::Duration = std::time::Duration::from_secs(1);
