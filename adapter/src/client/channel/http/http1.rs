//! One connection of HTTP/1.1: [`Http1`].

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentwire_transport::Connection;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;

use crate::{
    client::{
        channel::wire::{Shared, Wire},
        stats::OpenConnection,
    },
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

impl Http1 {
    pub(super) async fn open(connection: Connection, open: OpenConnection) -> hyper::Result<Self> {
        let (wire, shared) = Wire::new(connection);
        // By default, hyper allows 100 headers, and reads them without copying its arrays.
        let (sender, connection) = http1::handshake(TokioIo::new(wire)).await?;
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

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http1").field(&self.shared).finish()
    }
}
