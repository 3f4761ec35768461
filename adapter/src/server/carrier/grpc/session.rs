//! A session serves one connection of HTTP/2.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use agentwire_transport::{
    Connection,
    internal::{LogLimit, MAX_TIMEOUT},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, timeout_at};

use super::call::{self, Context, Outcome};
use crate::{
    deadline_timer::DeadlineTimer,
    poll_rounds::PollRounds,
    server::{
        carrier::{ServerContext, expiry, memory::Memory, slot::Slot},
        service::Caller,
        shutdown::{ShutdownListener, Stage},
    },
};

/// A connection that has not begun.
pub(super) struct Session {
    slot: Arc<Slot>,
    server: ServerContext,
}

/// The state of an open connection.
struct Open {
    connection: h2::server::Connection<Connection, Bytes>,
    calls: FuturesUnordered<Call>,
    /// How many of the calls are for agents.
    agent_calls: usize,
    context: Arc<Context>,
    slot: Arc<Slot>,
    shutdown: ShutdownListener,
    /// The time of the last accepted request, or of the start.
    quiet_since: Instant,
    /// When the certificate of the peer expires.
    expires: Option<Instant>,
    /// When a closing connection is cut.
    closing: Option<Instant>,
    timer: DeadlineTimer,
}

type Call = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Session {
    pub(super) fn new(slot: Arc<Slot>, server: &ServerContext) -> Self {
        Self {
            slot,
            server: server.clone(),
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(self, connection: Connection) {
        // The future is boxed because the state machine of an async fn stores its arguments twice.
        if let Some(mut open) = Box::pin(self.open(connection)).await {
            tracing::debug!("connection opened");
            // The connection and its calls wake each other.
            let mut rounds = PollRounds::new();
            let reason = poll_fn(|cx| rounds.poll(cx, |cx| open.poll(cx))).await;
            open.slot.ends_with(reason);
            tracing::debug!(reason, "connection closed");
        }
    }

    /// Completes the handshakes of the carriers below. A silent peer gives way like any other quiet
    /// peer.
    async fn open(self, mut connection: Connection) -> Option<Box<Open>> {
        let Self { slot, server } = self;
        let opened = Instant::now();
        let mut shutdown = server.shutdown.listen();
        slot.publish(Some(opened));
        let config = Arc::clone(&server.config);
        let handshakes = async {
            if let Err(error) = connection.handshake().await {
                if let Some(count) = REFUSED_HANDSHAKES.record(Instant::now().into_std()) {
                    let peer = connection.peer();
                    tracing::warn!(%peer, %error, count, "handshake failed; connection refused");
                }
                return None;
            }
            let peer = connection.peer().clone();
            match builder(config.max_in_flight).handshake(connection).await {
                Ok(connection) => Some((connection, peer)),
                Err(error) => {
                    tracing::debug!(%error, "the peer does not speak HTTP/2");
                    None
                }
            }
        };
        let until = opened + server.config.handshake_timeout.min(MAX_TIMEOUT);
        let (connection, peer) = tokio::select! {
            biased;
            () = poll_fn(|cx| {
                let is_serving = shutdown.poll(cx) == Stage::Serving;
                if is_serving && !slot.poll_evicted(cx) {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            }) => return None,
            opened = timeout_at(until, handshakes) => opened.ok()??,
        };
        let expires = peer.certificate().and_then(expiry);
        let context = Arc::new(Context {
            service: Arc::clone(&server.service),
            config: Arc::clone(&server.config),
            caller: Caller {
                connection: slot.connection(),
                ..Caller::new(peer)
            }
            .observed(&server.config.observers),
            memory: Memory::new(&server.budget),
            shutdown: server.shutdown.clone(),
            is_draining: AtomicBool::new(false),
        });
        Some(Box::new(Open {
            connection,
            calls: FuturesUnordered::new(),
            agent_calls: 0,
            context,
            slot,
            shutdown,
            quiet_since: Instant::now(),
            expires,
            closing: None,
            timer: DeadlineTimer::default(),
        }))
    }
}

impl Open {
    /// Drives the connection and its calls. Returns why the connection has ended.
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<&'static str> {
        match self.shutdown.poll(cx) {
            Stage::Serving => {}
            Stage::Draining => self.drain(),
            Stage::Aborted => return Poll::Ready("aborted"),
        }
        loop {
            let accepted = match self.accept(cx) {
                Ok(accepted) => accepted,
                Err(reason) => return Poll::Ready(reason),
            };
            while let Poll::Ready(Some(outcome)) = self.calls.poll_next_unpin(cx) {
                if outcome != Outcome::Auxiliary {
                    self.agent_calls -= 1;
                }
                if outcome == Outcome::Accepted {
                    self.quiet_since = Instant::now();
                }
            }
            if accepted.is_pending() {
                break;
            }
        }
        self.poll_timeouts(cx)
    }

    /// Sends what the calls have queued, and starts the requests that have arrived. The calls are
    /// not polled between two requests, so that the answers to requests that arrive together are
    /// one write. Returns `Ready` if more requests may have arrived.
    ///
    /// # Errors
    ///
    /// Returns why the connection has ended.
    fn accept(&mut self, cx: &mut TaskContext<'_>) -> Result<Poll<()>, &'static str> {
        // Calls that their caller has reset end only when they are polled.
        for _ in 0..self.context.config.max_in_flight.max(1) {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let context = Arc::clone(&self.context);
                    self.agent_calls += usize::from(call::is_for_agent(&request));
                    self.calls
                        .push(Box::pin(call::serve(request, respond, context)));
                }
                Poll::Ready(Some(Err(error))) => {
                    tracing::debug!(%error, "connection failed");
                    return Err("io");
                }
                Poll::Ready(None) => return Err(self.end_reason()),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        Ok(Poll::Ready(()))
    }

    fn poll_timeouts(&mut self, cx: &mut TaskContext<'_>) -> Poll<&'static str> {
        let is_quiet = self.agent_calls == 0;
        self.slot.publish(is_quiet.then_some(self.quiet_since));
        if self.slot.poll_evicted(cx) && is_quiet && self.closing.is_none() {
            self.close(LINGER);
            cx.waker().wake_by_ref();
        }
        loop {
            let idle = self.context.config.idle_timeout.min(MAX_TIMEOUT);
            let idle = (is_quiet && self.closing.is_none()).then(|| self.quiet_since + idle);
            let deadlines = [idle, self.closing, self.expires];
            let Some(next) = deadlines.into_iter().flatten().min() else {
                return Poll::Pending;
            };
            if self.timer.poll(cx, next).is_pending() {
                return Poll::Pending;
            }
            if self.closing == Some(next) {
                return Poll::Ready("timeout");
            }
            if self.expires == Some(next) {
                self.expires = None;
                tracing::debug!("the certificate of the peer has expired");
                let grace = self.context.config.shutdown_timeout.min(MAX_TIMEOUT);
                self.close(grace);
            } else {
                self.close(LINGER);
            }
            // The connection must be polled to send what `close` has queued.
            cx.waker().wake_by_ref();
        }
    }

    /// Returns why a connection has ended on which both sides have finished.
    fn end_reason(&self) -> &'static str {
        match self.closing {
            _ if self.context.is_draining() => "stopped",
            Some(_) => "timeout",
            None => "peer_closed",
        }
    }

    /// Tells the peer to send no more requests, and finishes those in flight.
    fn drain(&mut self) {
        if !self.context.is_draining.swap(true, Relaxed) {
            self.connection.graceful_shutdown();
        }
    }

    /// Closes the connection as soon as its calls have ended, and at the latest after `grace`.
    fn close(&mut self, grace: Duration) {
        self.connection.graceful_shutdown();
        self.closing.get_or_insert(Instant::now() + grace);
    }
}

fn builder(max_in_flight: usize) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(u32::try_from(max_in_flight).unwrap_or(u32::MAX))
        // A frame is a write of its sender.
        .max_frame_size(MAX_FRAME)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADERS)
        .max_send_buffer_size(MAX_QUEUED);
    builder
}

const MAX_FRAME: u32 = 64 * 1024;

/// What a peer may send of a message before the message is granted memory. A message that waits for
/// memory leaves a quarter of the connection's window to the others.
const STREAM_WINDOW: u32 = CONNECTION_WINDOW / 4 * 3;

/// What a peer may send on all streams of a connection that the server has not read.
const CONNECTION_WINDOW: u32 = 256 * 1024;

const MAX_HEADERS: u32 = 16 * 1024;

/// What the server queues of one answer before the peer reads.
const MAX_QUEUED: usize = 64 * 1024;

/// How long an idle connection stays open after its peer was told that it ends.
const LINGER: Duration = Duration::from_secs(1);

static REFUSED_HANDSHAKES: LogLimit = LogLimit::new();

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        io,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use agentwire_codec::{Body, EnvelopeType, Message, RequestId, Response, WireError};
    use agentwire_proto as proto;
    use futures_util::future::join_all;
    use h2::client::SendRequest;
    use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::{
        grpc::frame,
        server::{
            ConnectionId, PeerKey, Service, Work, carrier::slot::Slots, config::ServerConfig,
        },
    };

    /// A service that answers each request at once.
    struct Ready;

    impl Service for Ready {
        fn accepts(&self, _: EnvelopeType) -> bool {
            true
        }

        fn start(&self, _: &RequestId, _: Body, _: &Caller) -> Result<Work, WireError> {
            let answer = Response::Message(Message::agent("done"));
            Ok(Work::One(Box::pin(ready(Body::Response(answer)))))
        }
    }

    /// The end of a byte stream that counts what its owner writes to it.
    struct Counted {
        stream: DuplexStream,
        writes: Arc<AtomicUsize>,
    }

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut TaskContext<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut TaskContext<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.writes.fetch_add(1, SeqCst);
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            cx: &mut TaskContext<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }

    /// Sends a request. The future waits for the end of its answer.
    fn call(requests: &mut SendRequest<Bytes>) -> impl Future<Output = usize> + use<> {
        let request = http::Request::post("http://test/agenkit.AgentService/Process")
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let (response, mut body) = requests.send_request(request, false).unwrap();
        let message = proto::Request {
            id: "7".to_owned(),
            messages: vec![proto::Message::default()],
            ..proto::Request::default()
        };
        body.send_data(frame(&message, usize::MAX).unwrap(), true)
            .unwrap();
        async move {
            let mut answer = response.await.unwrap().into_body();
            let mut len = 0;
            while let Some(bytes) = answer.data().await {
                len += bytes.unwrap().len();
            }
            let trailers = answer.trailers().await.unwrap().unwrap();
            assert_eq!(trailers["grpc-status"], "0");
            len
        }
    }

    // On the only thread of the runtime, the client's task writes all requests before the session
    // reads, and the session writes as much as it can before the client reads.
    #[tokio::test]
    async fn the_answers_to_requests_that_arrive_together_are_one_write() {
        let (near, far) = duplex(64 * 1024);
        let writes = Arc::new(AtomicUsize::new(0));
        let counted = Counted {
            stream: far,
            writes: Arc::clone(&writes),
        };
        let connection = Connection::custom(counted, "client");
        let key = PeerKey::of(connection.peer());
        let slot = Slots::new().add(key, ConnectionId::next(), None);
        let server = ServerContext::new(Arc::new(Ready), ServerConfig::default(), 1);
        let session = Session::new(slot, &server).run(connection);
        let _session = AbortOnDropHandle::new(tokio::spawn(session));
        let (mut requests, driver) = h2::client::handshake(near).await.unwrap();
        let _driver = AbortOnDropHandle::new(tokio::spawn(driver));
        // The first call ends the exchange of settings.
        call(&mut requests).await;
        writes.store(0, SeqCst);

        let calls: Vec<_> = (0..8).map(|_| call(&mut requests)).collect();
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|len| *len > 0), "{answers:?}");
        assert_eq!(writes.load(SeqCst), 1);
    }
}
