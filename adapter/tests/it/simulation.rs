//! A client and a server on a simulated network that loses, delays, cuts, resets and half-closes
//! connections, and crashes the server. Each seed is another course of events, always the same one.
//!
//! Every call must end in its own reply or in a typed error, within its time; and once the network
//! is whole, the client must work again by itself. `AGENTWIRE_SEEDS` sets how many courses there
//! are, and `AGENTWIRE_SEED` the first.

use std::{
    cell::Cell,
    env, io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use crate::common::ScriptedAgent;
use agentwire::{
    CallOptions, Endpoint, Error, LocalAgent, Message, RemoteAgent, RetryPolicy,
    transport::{self, Accept, BoxFuture, Connection, Connector, Listener, internal::Mutex},
};
use fastrand::Rng;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::Instant,
};
use turmoil::net::{TcpListener, TcpStream};

const SEEDS: u64 = 250;
const PORT: u16 = 7000;
const TICK: Duration = Duration::from_millis(2);
const CALLERS: u64 = 6;
const CALLS: u64 = 12;

#[derive(Debug)]
struct Simulated {
    endpoint: Endpoint,
    random: Mutex<Rng>,
    /// Set when connections break no more.
    is_whole: Arc<AtomicBool>,
}

/// A stream that is half-closed or reset right after one of its writes.
#[derive(Debug)]
struct Breaking {
    stream: TcpStream,
    writes_left: u8,
    is_half_closing: bool,
    is_broken: bool,
    is_whole: Arc<AtomicBool>,
    reader: Option<Waker>,
}

impl AsyncRead for Breaking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_broken && !self.is_half_closing {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.reader = Some(cx.waker().clone());
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Breaking {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if !self.is_whole.load(Relaxed) {
            self.writes_left = self.writes_left.saturating_sub(1);
            if self.writes_left == 0 {
                self.is_broken = true;
                if self.is_half_closing {
                    let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
                } else if let Some(reader) = self.reader.take() {
                    reader.wake();
                }
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connector for Simulated {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, transport::Error>> {
        Box::pin(async {
            match TcpStream::connect(("server", PORT)).await {
                Ok(stream) => {
                    let mut random = self.random.lock();
                    let stream = Breaking {
                        stream,
                        writes_left: random.u8(1..40),
                        is_half_closing: random.bool(),
                        is_broken: false,
                        is_whole: Arc::clone(&self.is_whole),
                        reader: None,
                    };
                    Ok(Connection::custom(stream, "server"))
                }
                Err(source) => Err(transport::Error::Connect {
                    endpoint: self.endpoint.clone(),
                    source,
                }),
            }
        })
    }
}

/// The streams that a task of the simulated host has accepted.
#[derive(Debug)]
struct Accepted {
    endpoint: Endpoint,
    streams: mpsc::Receiver<TcpStream>,
}

impl Accept for Accepted {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, transport::Error>> {
        self.streams.poll_recv(cx).map(|stream| match stream {
            Some(stream) => Ok(Connection::custom(stream, "client")),
            None => Err(transport::Error::Accept {
                endpoint: self.endpoint.clone(),
                source: io::ErrorKind::BrokenPipe.into(),
            }),
        })
    }
}

async fn serve(half_close: bool) -> turmoil::Result {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let (accepted, streams) = mpsc::channel(1);
    let endpoint = Endpoint::custom("simulated server");
    let _server = LocalAgent::builder(ScriptedAgent)
        .half_close(half_close)
        .idle_timeout(Duration::from_secs(2))
        .frame_timeout(Duration::from_secs(2))
        .write_timeout(Duration::from_secs(2))
        .listener(Listener::custom(Accepted { endpoint, streams }))
        .serve()
        .await?;
    loop {
        let (stream, _) = listener.accept().await?;
        accepted.send(stream).await?;
    }
}

/// One of several callers that share a client.
async fn call_on(remote: RemoteAgent, mut random: Rng, caller: u64) -> (u64, u64) {
    let (mut answered, mut failed) = (0, 0);
    for number in 0..CALLS {
        let text = format!("call {number} of caller {caller}");
        let large = "x".repeat(random.usize(..4) * 20_000);
        let message = Message::user(text.as_str()).with_metadata("pad", large);
        let limit = Duration::from_millis(random.u64(1..800));
        let options = CallOptions::new().timeout(limit);
        let start = Instant::now();
        match random.u8(..6) {
            0 => {
                let call = remote.process_with(message, &options);
                let dropped = Duration::from_millis(random.u64(..50));
                if let Ok(Ok(reply)) = tokio::time::timeout(dropped, call).await {
                    assert_eq!(reply.text(), Some(text.as_str()));
                }
            }
            1 => {
                let mut stream = remote.stream_with(message.with_metadata("count", 5), &options);
                let mut chunks = 0;
                while let Some(item) = stream.next().await {
                    match item {
                        Ok(chunk) => {
                            assert_eq!(chunk.text(), Some(text.as_str()));
                            assert_eq!(chunk.metadata["i"].as_u64(), Some(chunks));
                            chunks += 1;
                        }
                        Err(error) => {
                            assert_is_typed(&error);
                            chunks = 5;
                        }
                    }
                }
                assert_eq!(chunks, 5, "a stream that ends early ends with an error");
                continue;
            }
            _ => match remote.process_with(message, &options).await {
                Ok(reply) => {
                    assert_eq!(reply.text(), Some(text.as_str()));
                    answered += 1;
                }
                Err(error) => {
                    assert_is_typed(&error);
                    failed += 1;
                }
            },
        }
        // Simulated time stands still while a task works.
        assert!(
            start.elapsed() <= limit + 2 * TICK,
            "{:?} of {limit:?}",
            start.elapsed()
        );
    }
    (answered, failed)
}

fn assert_is_typed(error: &Error) {
    assert!(
        error.is_timeout() || error.is_connect() || error.is_disconnected(),
        "{error:?}"
    );
}

/// Counts the calls that were answered, and those that failed.
fn simulate(seed: u64, max_in_flight: usize) -> (u64, u64) {
    // Seeds the jitter of the client, too.
    fastrand::seed(seed);
    let mut random = Rng::with_seed(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(Duration::from_secs(600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(30))
        .build();
    sim.host("server", move || serve(seed % 2 == 0));

    let called = Rc::new(Cell::new(None));
    let all_called = Rc::clone(&called);
    let is_whole = Arc::new(AtomicBool::new(false));
    sim.client("client", async move {
        let remote = RemoteAgent::builder(Endpoint::custom("replaced"))
            .connector(Simulated {
                endpoint: Endpoint::custom("simulated server"),
                random: Mutex::new(Rng::with_seed(!seed)),
                is_whole: Arc::clone(&is_whole),
            })
            .max_connections(3)
            .max_in_flight_per_connection(max_in_flight)
            .retry(RetryPolicy::new().backoff(Duration::from_millis(5), Duration::from_millis(100)))
            .build()?;
        let callers = (0..CALLERS).map(|caller| {
            tokio::spawn(call_on(
                remote.clone(),
                Rng::with_seed(seed ^ caller << 32),
                caller,
            ))
        });
        let (mut answered, mut failed) = (0, 0);
        for caller in join_all(callers).await {
            let ends = caller?;
            answered += ends.0;
            failed += ends.1;
        }
        all_called.set(Some((answered, failed)));
        is_whole.store(true, Relaxed);
        // The network is whole again. Each connection may still fail once for an earlier loss.
        let options = CallOptions::new().timeout(Duration::from_secs(20));
        let mut failures = 0;
        while let Err(error) = remote
            .process_with(Message::user("after all"), &options)
            .await
        {
            assert_is_typed(&error);
            failures += 1;
            assert!(failures <= 3, "{error:?}");
        }
        let stats = remote.stats();
        assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{stats:?}");
        remote.close().await;
        Ok(())
    });

    let (mut whole, mut up) = (true, true);
    while !sim
        .step()
        .unwrap_or_else(|error| panic!("seed {seed}: {error}"))
    {
        if called.get().is_some() {
            if !up {
                sim.bounce("server");
                up = true;
            }
            if !whole {
                sim.repair("client", "server");
                sim.release("client", "server");
                whole = true;
            }
            continue;
        }
        match random.u16(..400) {
            0 if up => {
                sim.crash("server");
                up = false;
            }
            1..8 if !up => {
                sim.bounce("server");
                up = true;
            }
            8..10 if whole => {
                sim.partition("client", "server");
                whole = false;
            }
            10..12 if whole => {
                sim.hold("client", "server");
                whole = false;
            }
            12..20 if !whole => {
                sim.repair("client", "server");
                sim.release("client", "server");
                whole = true;
            }
            _ => {}
        }
    }
    called.get().unwrap_or_default()
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn simulate_all(max_in_flight: usize) {
    let first = number("AGENTWIRE_SEED", 0);
    let (mut answered, mut failed) = (0, 0);
    for seed in first..first + number("AGENTWIRE_SEEDS", SEEDS) {
        let course = std::panic::AssertUnwindSafe(|| simulate(seed, max_in_flight));
        match std::panic::catch_unwind(course) {
            Ok(ends) => {
                answered += ends.0;
                failed += ends.1;
            }
            Err(panic) => {
                eprintln!("it was seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{answered} calls answered, {failed} failed");
    assert!(
        answered > 0 && failed > 0,
        "calls must both succeed and fail"
    );
}

#[test]
fn separate_connections_survive_any_course_of_events() {
    simulate_all(1);
}

#[test]
fn shared_connections_survive_any_course_of_events() {
    simulate_all(4);
}
