//! Serves one connection with hyper.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant as StdInstant},
};

use agentwire_transport::{
    Connection, TlsError,
    internal::{Chain, LogLimit, MAX_TIMEOUT},
};
use http::Request;
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

#[cfg(feature = "websocket")]
use super::upgrade::{self, Upgraded};
use super::{
    HttpServer,
    activity::{Activity, InFlight},
    exchange::Exchange,
    routes, stream,
    wire::Wire,
};
use crate::server::carrier::memory::Memory;
use crate::{
    deadline_timer::DeadlineTimer,
    poll_rounds::PollRounds,
    server::{
        carrier::{
            ServerContext, expiry,
            rates::{MIN_ANSWER_RATE, least_bytes},
            slot::Slot,
        },
        config::ServerConfig,
        service::Caller,
        shutdown::{ShutdownListener, Stage},
    },
};

/// Serves the requests of a connection until the connection ends or the server stops. Returns the
/// connection if it has become a WebSocket.
pub(super) async fn serve(
    http: Arc<HttpServer>,
    mut connection: Connection,
    slot: &Slot,
    server: &ServerContext,
) -> Option<Upgraded> {
    if connection.needs_handshake() && !shake_hands(&http, &mut connection, slot).await {
        return None;
    }
    let expiry = connection.peer().certificate().and_then(expiry);
    let caller = Caller {
        connection: slot.connection(),
        ..Caller::new(connection.peer().clone())
    };
    let caller = Arc::new(caller.observed(&http.config.observers));
    let activity = Arc::new(Activity::default());
    let memory = Memory::new(&http.budget);
    let wire = Wire::new(connection, &activity);
    let write_timeout = http.config.write_timeout.min(MAX_TIMEOUT);
    let spawner = Spawner::new(server.tasks.clone(), write_timeout);
    #[cfg(feature = "websocket")]
    let handshake = Arc::new(upgrade::Handshake::default());
    let builder = builder(&http.config, spawner.clone());
    let service = service_fn(|request: Request<Incoming>| {
        if request.version() == http::Version::HTTP_2 {
            activity.set_http2();
        }
        let exchange = Exchange {
            http: Arc::clone(&http),
            caller: Arc::clone(&caller),
            memory: memory.clone(),
            in_flight: InFlight::new(&activity),
        };
        #[cfg(feature = "websocket")]
        let handshake = upgrade::is_asked(&request, &http.prefix).then(|| Arc::clone(&handshake));
        // The future is large, and is moved several times before it is polled.
        Box::pin(async move {
            #[cfg(feature = "websocket")]
            if let Some(handshake) = handshake {
                return Ok(upgrade::answer(exchange, request, &handshake).await);
            }
            Ok::<_, Infallible>(routes::answer(exchange, request).await)
        })
    });
    let served = builder.serve_connection_with_upgrades(TokioIo::new(wire), service);
    let mut served = pin!(served);
    let mut watch = Watch {
        config: &http.config,
        activity: &activity,
        slot,
        shutdown: http.shutdown.listen(),
        is_draining: false,
        expiry,
        end: None,
        // Bytes may have arrived before the first poll.
        waits: Waits {
            quiet: Some((Instant::now(), 0)),
            ..Waits::default()
        },
        timer: DeadlineTimer::default(),
    };
    // The connection and its requests wake each other.
    let mut rounds = PollRounds::new();
    let reason = poll_fn(|cx| {
        match watch.poll_stage(cx) {
            Some(Stage::Aborted) => return Poll::Ready("aborted"),
            Some(Stage::Draining) => served.as_mut().graceful_shutdown(),
            _ => {}
        }
        if watch.has_expired() {
            served.as_mut().graceful_shutdown();
        }
        match rounds.poll(cx, |cx| served.as_mut().poll(cx)) {
            #[cfg(feature = "websocket")]
            Poll::Ready(Ok(())) if handshake.is_accepted() => Poll::Ready("upgraded"),
            Poll::Ready(Ok(())) if watch.is_draining => Poll::Ready("stopped"),
            Poll::Ready(Ok(())) if watch.end.is_some() => Poll::Ready("certificate_expired"),
            Poll::Ready(Ok(())) => Poll::Ready("peer_closed"),
            Poll::Ready(Err(error)) => {
                let error = Chain(&*error);
                tracing::debug!(%error, "connection failed");
                Poll::Ready("io")
            }
            Poll::Pending => watch.poll_timeouts(cx),
        }
    });
    let reason = reason.await;
    #[cfg(feature = "websocket")]
    if reason == "upgraded" {
        let upgraded = handshake.finish(&http).await;
        if upgraded.is_some() {
            return upgraded;
        }
    }
    slot.ends_with(reason);
    tracing::debug!(reason, "connection closed");
    None
}

/// Without WebSocket, no connection becomes another one.
#[cfg(not(feature = "websocket"))]
type Upgraded = Infallible;

/// Completes the handshake of TLS. Returns whether the connection can be served.
async fn shake_hands(http: &HttpServer, connection: &mut Connection, slot: &Slot) -> bool {
    let opened = Instant::now();
    let mut shutdown = http.shutdown.listen();
    let handshake = poll_fn(|cx| {
        // A peer that has not finished its handshake gives way like any other quiet peer.
        slot.publish(Some(opened));
        if slot.poll_evicted(cx) {
            return Poll::Ready(Err("evicted"));
        }
        if shutdown.poll(cx) != Stage::Serving {
            return Poll::Ready(Err("stopped"));
        }
        connection.poll_handshake(cx).map(Ok)
    });
    let (reason, problem) = match timeout(http.config.handshake_timeout, handshake).await {
        Ok(Ok(Ok(()))) => return true,
        Ok(Ok(Err(error))) => ("handshake", Some(error.into_tls())),
        Ok(Err(reason)) => (reason, None),
        Err(_) => ("handshake", Some(TlsError::TimedOut)),
    };
    slot.ends_with(reason);
    match problem {
        // A peer that leaves is usually a check whether the port is open.
        None | Some(TlsError::Closed) => {}
        Some(problem) => {
            if let Some(count) = REFUSED_HANDSHAKES.record(StdInstant::now()) {
                let (peer, error) = (connection.peer(), &problem);
                tracing::warn!(%peer, %error, count, "handshake failed; connection refused");
            }
            if problem == TlsError::NotTls {
                let written = async {
                    connection.write_all(NOT_TLS).await?;
                    connection.shutdown().await
                };
                // The peer may not read the answer.
                let _ = timeout(NOT_TLS_TIMEOUT, written).await;
            }
        }
    }
    false
}

fn builder(config: &ServerConfig, spawner: Spawner) -> Builder<Spawner> {
    let mut builder = Builder::new(spawner);
    builder
        .http1()
        .half_close(config.half_close)
        // The session has timeouts of its own.
        .header_read_timeout(None)
        .timer(TokioTimer::new())
        // By default, hyper allows 100 headers, and reads them without copying its arrays.
        .max_buf_size(MAX_HEADERS);
    let streams = u32::try_from(config.max_in_flight).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buf_size(64 * 1024)
        // A frame is a write of its sender.
        .max_frame_size(MAX_FRAME)
        // The windows bound the bytes that arrive before a request has memory.
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // A peer that vanishes without a word is found by these pings.
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// Spawns the tasks of the streams of HTTP/2. The tasks belong to the server, and end with their
/// connection.
#[derive(Clone)]
struct Spawner {
    tasks: TaskTracker,
    write_timeout: Duration,
    _ended: Arc<DropGuard>,
    token: CancellationToken,
}

impl Spawner {
    fn new(tasks: TaskTracker, write_timeout: Duration) -> Self {
        let token = CancellationToken::new();
        Self {
            tasks,
            write_timeout,
            _ended: Arc::new(token.clone().drop_guard()),
            token,
        }
    }
}

impl<F> Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        let (token, write_timeout) = (self.token.clone(), self.write_timeout);
        self.tasks.spawn(async move {
            let stream = stream::run(future, write_timeout);
            token.run_until_cancelled_owned(stream).await;
        });
    }
}

/// Watches the shutdown and the timeouts of a connection.
struct Watch<'a> {
    config: &'a ServerConfig,
    activity: &'a Activity,
    slot: &'a Slot,
    shutdown: ShutdownListener,
    is_draining: bool,
    /// When the certificate of the peer expires.
    expiry: Option<Instant>,
    /// When the requests in flight after that are dropped.
    end: Option<Instant>,
    waits: Waits,
    timer: DeadlineTimer,
}

/// The waits of a connection that have a timeout.
#[derive(Default)]
struct Waits {
    /// Since when no request is in flight, and how many bytes had been received then.
    quiet: Option<(Instant, u64)>,
    /// Since when a part of a request has arrived.
    partial: Option<Instant>,
    /// Since when an answer waits for the peer, and how many bytes had been written then.
    write: Option<(Instant, u64)>,
    /// The number of requests at the last look.
    requests: u64,
}

/// What has expired.
enum Expired {
    Wait(&'static str),
    /// The certificate of the peer.
    Certificate,
    /// The time for the requests in flight after that.
    End,
}

impl Watch<'_> {
    /// Returns the stage of the shutdown when it has changed.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Option<Stage> {
        match self.shutdown.poll(cx) {
            Stage::Draining if !self.is_draining => {
                self.is_draining = true;
                Some(Stage::Draining)
            }
            Stage::Aborted => Some(Stage::Aborted),
            _ => None,
        }
    }

    /// Returns whether the certificate of the peer has just expired. The requests in flight are
    /// answered first, within the time of a shutdown.
    fn has_expired(&mut self) -> bool {
        let Some(expiry) = self.expiry else {
            return false;
        };
        let now = Instant::now();
        if now < expiry {
            return false;
        }
        self.expiry = None;
        self.end = Some(now + self.config.shutdown_timeout.min(MAX_TIMEOUT));
        true
    }

    /// Waits for a timeout, or for the acceptor to ask for the connection.
    fn poll_timeouts(&mut self, cx: &mut Context<'_>) -> Poll<&'static str> {
        let now = Instant::now();
        let config = self.config;
        let is_quiet = self.activity.in_flight() == 0;
        let received = self.activity.received();
        let has_new = self.activity.requests() != self.waits.requests;
        self.waits.requests = self.activity.requests();
        self.waits.quiet = match self.waits.quiet {
            Some(quiet) if is_quiet && !has_new => Some(quiet),
            _ => is_quiet.then_some((now, received)),
        };
        // Between the requests of HTTP/2, other frames arrive.
        let may_be_partial = !self.activity.is_http2();
        let is_partial = self
            .waits
            .quiet
            .is_some_and(|(_, before)| received > before);
        self.waits.partial =
            (is_partial && may_be_partial).then(|| self.waits.partial.unwrap_or(now));
        let written = self.activity.written();
        let least = least_bytes(MIN_ANSWER_RATE, config.write_timeout);
        self.waits.write = self.activity.is_writing().then(|| match self.waits.write {
            Some(window) if written < window.1.saturating_add(least) => window,
            _ => (now, written),
        });
        let quiet_since = self.waits.quiet.map(|(since, _)| since);
        let is_evictable = self.waits.partial.is_none();
        let quiet_since = quiet_since.filter(|_| is_evictable);
        self.slot.publish(quiet_since);
        if self.slot.poll_evicted(cx) && quiet_since.is_some() {
            return Poll::Ready("evicted");
        }
        let waits = [
            (quiet_since, config.idle_timeout, "no request arrived"),
            (
                self.waits.partial,
                config.handshake_timeout,
                "the headers of a request arrived too slowly",
            ),
            (
                self.waits.write.map(|(since, _)| since),
                config.write_timeout,
                "the peer reads its answers too slowly or not at all",
            ),
        ];
        let waits = waits.into_iter().filter_map(|(since, timeout, reason)| {
            since.map(|since| (since + timeout.min(MAX_TIMEOUT), Expired::Wait(reason)))
        });
        let ends = [
            self.expiry.map(|expiry| (expiry, Expired::Certificate)),
            self.end.map(|end| (end, Expired::End)),
        ];
        let waits = waits.chain(ends.into_iter().flatten());
        let Some((deadline, expired)) = waits.min_by_key(|(deadline, _)| *deadline) else {
            return Poll::Pending;
        };
        ready!(self.timer.poll(cx, deadline));
        match expired {
            Expired::Wait(reason) => {
                tracing::debug!(reason, "connection timed out");
                Poll::Ready("timeout")
            }
            Expired::Certificate => {
                // The next poll shuts the connection down.
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Expired::End => Poll::Ready("certificate_expired"),
        }
    }
}

/// The maximum size of the first line and the headers of a request.
const MAX_HEADERS: usize = 32 * 1024;
const MAX_HEADER_LIST: u32 = 16 * 1024;

const MAX_FRAME: u32 = 64 * 1024;

/// The bytes of one request, and of all requests of a connection, that a peer may send before they
/// are read. A request that waits for memory leaves a quarter to the others.
const STREAM_WINDOW: u32 = CONNECTION_WINDOW / 4 * 3;
const CONNECTION_WINDOW: u32 = 256 * 1024;

/// The interval of the pings of HTTP/2, and the time for their answers.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// The answer to a peer that speaks to an endpoint with TLS without it.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\
    Connection: close\r\nContent-Length: 47\r\n\r\nThis endpoint speaks TLS; the URL is https://.\n";

/// The time to write that answer.
const NOT_TLS_TIMEOUT: Duration = Duration::from_secs(1);

static REFUSED_HANDSHAKES: LogLimit = LogLimit::new();
