//! One connection of HTTP/2, which calls share: [`Http2`].

use std::{
    fmt,
    future::{Future, poll_fn},
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_transport::{Connection, internal::RuntimeAffinity};
use bytes::Bytes;
use h2::{Ping, PingPong, RecvStream, client::SendRequest};
use http::{Request, Response};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    client::{
        channel::{
            calls::Calls,
            http2::{self, Turn, Unanswered},
            wire::Shared,
        },
        stats::OpenConnection,
    },
    deadline_timer::DeadlineTimer,
};

/// A connection of HTTP/2, which calls share. A task drives it.
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
    calls: Arc<Calls>,
    affinity: RuntimeAffinity,
    shared: Arc<Shared>,
    /// Whether the connection has ended. A stale value costs one attempt to use it.
    has_ended: Arc<AtomicBool>,
    pub(super) open: OpenConnection,
    _driver: AbortOnDropHandle<()>,
}

/// The right to make a call on a connection of HTTP/2.
#[derive(Debug)]
pub(super) struct Slot(Arc<Http2>);

/// Pings the server while calls wait and nothing arrives.
struct KeepAlive {
    ping: Option<PingPong>,
    calls: Arc<Calls>,
    shared: Arc<Shared>,
    /// The number of received bytes at the last look.
    received: u64,
    is_pinged: bool,
    next: Instant,
    timer: DeadlineTimer,
}

impl Http2 {
    pub(super) async fn open(
        connection: Connection,
        max_calls: usize,
        open: OpenConnection,
    ) -> Result<Self, h2::Error> {
        let (sender, mut connection, shared) = http2::open(connection, max_calls).await?;
        let calls = Arc::new(Calls::new());
        let mut keep_alive = KeepAlive {
            ping: connection.ping_pong(),
            calls: Arc::clone(&calls),
            shared: Arc::clone(&shared),
            received: 0,
            is_pinged: false,
            next: Instant::now() + KEEP_ALIVE,
            timer: DeadlineTimer::default(),
        };
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let driver = tokio::spawn(async move {
            let mut turn = Turn::default();
            let end = poll_fn(|cx| {
                ready!(turn.poll(cx, keep_alive.calls.in_flight()));
                match Pin::new(&mut connection).poll(cx) {
                    Poll::Pending => keep_alive.poll(cx).map(|()| None),
                    Poll::Ready(end) => Poll::Ready(Some(end)),
                }
            });
            match end.await {
                Some(Ok(())) => tracing::debug!("connection of HTTP/2 ended"),
                Some(Err(error)) => tracing::debug!(%error, "connection of HTTP/2 ended"),
                None => tracing::debug!("connection of HTTP/2 closed: no answer to a ping"),
            }
            ended.store(true, Relaxed);
        });
        Ok(Self {
            sender,
            calls,
            affinity: RuntimeAffinity::current(),
            shared,
            has_ended,
            open,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Sends a request, and waits for the head of its answer. `is_sent` is set when the whole
    /// request was queued.
    pub(super) async fn send(
        &self,
        head: Request<()>,
        body: Bytes,
        is_sent: &mut bool,
    ) -> Result<Response<RecvStream>, Unanswered> {
        let ready = self.sender.clone().ready().await;
        let sender = ready.map_err(Unanswered::unsent)?;
        http2::exchange(sender, head, body, is_sent).await
    }

    /// Returns whether the connection takes further requests.
    pub(super) fn is_open(&self) -> bool {
        !self.has_ended.load(Relaxed)
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

    /// Returns whether another call may share the connection. `usual` is how many calls share one
    /// if the server does not allow fewer.
    pub(super) fn has_room(&self, usual: usize) -> bool {
        // A server begins with its settings (RFC 9113, section 3.4).
        let has_settings = self.shared.received() > 0;
        let limit = if has_settings {
            self.sender.current_max_send_streams().min(usual)
        } else {
            usual
        };
        self.in_flight() < limit
    }

    /// Returns since when no call uses the connection, if none does.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.in_flight() == 0).then(|| self.calls.idle_since())
    }
}

impl Slot {
    pub(super) fn connection(&self) -> &Arc<Http2> {
        &self.0
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

impl KeepAlive {
    /// Returns `Ready` if the server has not answered a ping in time.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(ping) = &mut self.ping {
            // The answer counts as received bytes. An error also ends the connection.
            let _ = ping.poll_pong(cx);
        }
        while self.timer.poll(cx, self.next).is_ready() {
            let received = self.shared.received();
            let is_silent = received == self.received && self.calls.in_flight() > 0;
            if is_silent && self.is_pinged {
                return Poll::Ready(());
            }
            let sent = |ping: &mut PingPong| ping.send_ping(Ping::opaque()).is_ok();
            self.is_pinged = is_silent && self.ping.as_mut().is_some_and(sent);
            self.received = received;
            self.next = Instant::now() + KEEP_ALIVE;
        }
        Poll::Pending
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http2").field(&self.shared).finish()
    }
}

/// The time of silence while calls wait after which the server is pinged, and the time for its
/// answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use agentwire_transport::Endpoint;
    use tokio::io::DuplexStream;

    use super::*;
    use crate::{client::stats::Counters, observer::Observers};

    /// Returns a connection to a server that reads and answers nothing.
    async fn connect() -> (Arc<Http2>, DuplexStream) {
        let (near, far) = tokio::io::duplex(1024 * 1024);
        let counters = Arc::new(Counters::new(Observers::default()));
        let endpoint: Endpoint = "h2c://127.0.0.1:1".parse().unwrap();
        let open = counters.opened(&endpoint);
        let http2 = Http2::open(Connection::custom(near, "a silent server"), 64, open).await;
        (Arc::new(http2.unwrap()), far)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_answers_nothing_is_pinged_and_given_up() {
        let (http2, _far) = connect().await;
        let (slot, started) = (http2.slot(), Instant::now());
        let head = Request::post("http://a/process").body(()).unwrap();
        let body = Bytes::from_static(b"{}");
        assert!(slot.send(head, body, &mut false).await.is_err());
        assert_eq!(started.elapsed().as_secs(), 2 * KEEP_ALIVE.as_secs());
        assert!(!http2.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_calls_is_not_pinged() {
        let (http2, _far) = connect().await;
        tokio::time::sleep(10 * KEEP_ALIVE).await;
        assert!(http2.is_open());
        let written = http2.shared().written();
        drop(http2.slot());
        tokio::time::sleep(10 * KEEP_ALIVE).await;
        assert!(http2.is_open());
        assert_eq!(http2.shared().written(), written);
    }
}
