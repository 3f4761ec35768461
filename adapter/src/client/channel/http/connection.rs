//! One connection of HTTP/1.1 or HTTP/2.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_transport::{Connection, internal::RuntimeAffinity};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::wire::{Shared, Wire};
use crate::{
    client::{channel::calls::Calls, stats::OpenConnection},
    poll_rounds::PollRounds,
};

/// The body of a request.
#[derive(Debug)]
pub(super) struct Payload(Bytes);

impl Payload {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// The answer to a request, before its body.
pub(super) type Answered = Result<Response<Incoming>, TrySendError<Request<Payload>>>;

/// A connection of HTTP/1.1, which serves one request at a time. The task of the caller drives it,
/// so that a call needs no other task.
pub(super) struct Http1 {
    sender: http1::SendRequest<Payload>,
    driver: Driver,
    /// The request, its body and the connection wake each other.
    rounds: PollRounds,
    shared: Arc<Shared>,
    pub(super) open: OpenConnection,
}

/// The connection below the requests of HTTP/1.1.
struct Driver {
    connection: Pin<Box<http1::Connection<TokioIo<Wire>, Payload>>>,
    has_ended: bool,
}

/// A connection of HTTP/2, which calls share. A task drives it.
pub(super) struct Http2 {
    sender: http2::SendRequest<Payload>,
    calls: Calls,
    affinity: RuntimeAffinity,
    shared: Arc<Shared>,
    pub(super) open: OpenConnection,
    _driver: AbortOnDropHandle<()>,
}

/// The right to make a call on a connection of HTTP/2.
#[derive(Debug)]
pub(super) struct Slot(Arc<Http2>);

impl Http1 {
    pub(super) async fn open(connection: Connection, open: OpenConnection) -> hyper::Result<Self> {
        let (wire, shared) = Wire::new(connection);
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(wire))
            .await?;
        Ok(Self {
            sender,
            driver: Driver {
                connection: Box::pin(connection),
                has_ended: false,
            },
            rounds: PollRounds::new(),
            shared,
            open,
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn send(
        &mut self,
        request: Request<Payload>,
    ) -> impl Future<Output = Answered> + Send + use<> {
        self.sender.try_send_request(request)
    }

    /// Drives the connection and polls `poll`, which learns whether the connection has ended.
    pub(super) fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>, bool) -> Poll<T>,
    ) -> Poll<T> {
        let driver = &mut self.driver;
        self.rounds.poll(cx, |cx| {
            let has_ended = driver.poll(cx);
            poll(cx, has_ended)
        })
    }

    /// Reads the end of a body that has arrived. Returns whether the body has ended.
    pub(super) fn poll_rest(&mut self, body: &mut Incoming, cx: &mut Context<'_>) -> bool {
        let read = self.poll_with(cx, |cx, _| {
            loop {
                match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                    None => return Poll::Ready(true),
                    // Only blank lines and comments may follow the last event.
                    Some(Ok(_)) => {}
                    Some(Err(_)) => return Poll::Ready(false),
                }
            }
        });
        matches!(read, Poll::Ready(true))
    }

    /// Returns whether the connection is idle and can be used for another request.
    pub(super) fn is_idle_and_open(&mut self, cx: &mut Context<'_>) -> bool {
        let Self {
            sender,
            driver,
            rounds,
            ..
        } = self;
        let is_open = rounds.poll(cx, |cx| {
            if driver.poll(cx) {
                return Poll::Ready(false);
            }
            sender.poll_ready(cx).map(|ready| ready.is_ok())
        });
        matches!(is_open, Poll::Ready(true)) && self.shared.is_idle_and_open()
    }
}

impl Driver {
    /// Makes progress. Returns whether the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.has_ended {
            // The error reaches the request or its body as well.
            self.has_ended = self.connection.as_mut().poll(cx).is_ready();
        }
        self.has_ended
    }
}

impl Http2 {
    pub(super) async fn open(connection: Connection, open: OpenConnection) -> hyper::Result<Self> {
        let (wire, shared) = Wire::new(connection);
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(hyper_util::rt::TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(4 * WINDOW)
            .max_header_list_size(64 * 1024)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .handshake(TokioIo::new(wire))
            .await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection of HTTP/2 ended");
            }
        });
        Ok(Self {
            sender,
            calls: Calls::new(),
            affinity: RuntimeAffinity::current(),
            shared,
            open,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn send(
        &self,
        request: Request<Payload>,
    ) -> impl Future<Output = Answered> + Send + use<> {
        self.sender.clone().try_send_request(request)
    }

    /// Returns whether the connection takes further requests.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Returns whether the current runtime drives the connection.
    pub(super) fn is_driven_here(&self) -> bool {
        self.affinity.includes_current()
    }

    /// Counts a call. The caller must hold the lock of the pool.
    pub(super) fn slot(self: &Arc<Self>) -> Slot {
        self.calls.begin();
        Slot(Arc::clone(self))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.calls.in_flight()
    }

    /// Returns since when no call uses the connection, if none does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.in_flight() == 0).then(|| self.calls.idle_since())
    }
}

impl Deref for Slot {
    type Target = Http2;

    fn deref(&self) -> &Http2 {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.calls.end();
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http1").field(&self.shared).finish()
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http2").field(&self.shared).finish()
    }
}

const MAX_HEADERS: usize = 100;

/// The bytes of one answer that the server may send before they are read.
const WINDOW: u32 = 1024 * 1024;

/// The interval of the pings of HTTP/2 while calls wait, and the time for their answers.
const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(20);
