//! Calls while their server is killed and restarted, their connections are cut, and they themselves time out
//! and are dropped: each ends in its own reply or in a typed error, in time, and the client recovers by itself.
//!
//! `AGENTWIRE_SOAK_SECONDS` makes it last longer.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use agentwire::{CallOptions, Error, Message, RemoteAgent, RetryPolicy};
use agentwire_interop_tests::{
    AgentKind, Failure, Outcome, PeerServer, Relay, RustServer, expect, expect_that,
};
use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep, timeout};

const SECONDS: u64 = 5;
const CALLERS: u64 = 16;

/// What a call may take beyond its timeout, on a machine that is busy with killing and starting processes.
const MARGIN: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
enum Language {
    Rust,
    Python,
}

/// A server that can be killed.
enum Server {
    Rust(RustServer),
    Python(PeerServer),
}

impl Server {
    async fn start(language: Language, path: &Path) -> Result<Self, Failure> {
        let endpoint = format!("unix://{}", path.display());
        Ok(match language {
            Language::Rust => {
                let program = env!("CARGO_BIN_EXE_interop-agent");
                Self::Rust(RustServer::start(program, &endpoint).await?)
            }
            Language::Python => {
                Self::Python(PeerServer::start(AgentKind::Interop, &endpoint).await?)
            }
        })
    }

    /// As with `kill -9`.
    async fn kill(self) -> Outcome {
        match self {
            Self::Rust(server) => server.kill().await,
            Self::Python(server) => server.kill().await,
        }
    }
}

/// How the calls of a caller ended, by name.
type Ends = BTreeMap<String, u64>;

struct Stage {
    language: Language,
    far: PathBuf,
    relay: Relay,
    /// Nobody calls any more.
    over: AtomicBool,
}

impl Stage {
    /// Kills and restarts the server, and cuts connections, until it is over.
    async fn trouble(
        &self,
        mut server: Server,
        mut random: Rng,
        until: Instant,
    ) -> Result<(Server, u64), Failure> {
        let mut kills = 0;
        while Instant::now() < until {
            sleep(Duration::from_millis(random.u64(20..150))).await;
            if random.u8(..3) > 0 {
                self.relay.cut();
                continue;
            }
            server.kill().await?;
            kills += 1;
            sleep(Duration::from_millis(random.u64(..100))).await;
            server = Server::start(self.language, &self.far).await?;
        }
        self.over.store(true, Relaxed);
        Ok((server, kills))
    }

    async fn call_until_over(&self, remote: &RemoteAgent, caller: u64) -> Result<Ends, Failure> {
        let mut random = Rng::with_seed(caller);
        let mut ends = Ends::new();
        let mut number = 0;
        while !self.over.load(Relaxed) {
            number += 1;
            let text = format!("call {number} of caller {caller}");
            let during = |failure: Failure| failure.during(&text);
            let end = self.one(remote, &text, &mut random).await.map_err(during)?;
            *ends.entry(end).or_default() += 1;
        }
        Ok(ends)
    }

    /// Makes one call and tells how it ended. A failure is an end that must not be.
    async fn one(
        &self,
        remote: &RemoteAgent,
        text: &str,
        random: &mut Rng,
    ) -> Result<String, Failure> {
        let mut message = Message::user(text);
        if random.u8(..4) == 0 {
            message = message
                .with_metadata("do", "slow")
                .with_metadata("ms", random.u8(..40));
        }
        let limit = Duration::from_millis(random.u64(1..400));
        let options = CallOptions::new().timeout(limit);
        let start = Instant::now();
        let (end, limit) = match random.u8(..10) {
            0 => {
                let call = remote.process_with(message, &options);
                match timeout(Duration::from_millis(random.u64(..20)), call).await {
                    Ok(result) => (own_or_typed(result, text)?, limit),
                    Err(_) => ("dropped".to_owned(), limit),
                }
            }
            1 => {
                let count = random.u32(1..5);
                let message = Message::user(text).with_metadata("count", count);
                let mut stream = remote.stream_with(message, &options);
                let mut number = 0;
                let end = loop {
                    match stream.next().await {
                        Some(Ok(chunk)) => {
                            let wanted = format!("{text} #{number}");
                            expect("a chunk", &chunk.text(), &Some(wanted.as_str()))?;
                            number += 1;
                        }
                        Some(Err(error)) => break typed(&error)?,
                        None => {
                            expect("the chunks", &number, &count)?;
                            break "streamed".to_owned();
                        }
                    }
                };
                (end, limit * (count + 2))
            }
            _ => (
                own_or_typed(remote.process_with(message, &options).await, text)?,
                limit,
            ),
        };
        let elapsed = start.elapsed();
        expect_that(elapsed < limit + MARGIN, || {
            format!("{end} after {elapsed:?}, with {limit:?}")
        })?;
        Ok(end)
    }
}

fn own_or_typed(result: Result<Message, Error>, text: &str) -> Result<String, Failure> {
    match result {
        Ok(reply) => {
            expect("the reply", &reply.text(), &Some(text))?;
            Ok("answered".to_owned())
        }
        Err(error) => typed(&error),
    }
}

/// The ends that a killed server and a cut connection may bring about.
fn typed(error: &Error) -> Result<String, Failure> {
    match error {
        Error::Timeout { phase, .. } => Ok(format!("timed out {phase:?}")),
        Error::ConnectionFailed { .. } => Ok("connection failed".to_owned()),
        Error::ConnectionClosed { .. } => Ok("connection closed".to_owned()),
        other => Err(Failure::new(format!("{other:?}"))),
    }
}

/// The label tells the lines of tests apart that run at the same time.
async fn chaos(label: &str, language: Language, max_in_flight: usize) -> Outcome {
    let seconds = match env::var("AGENTWIRE_SOAK_SECONDS") {
        Ok(text) => text.parse::<u64>()?,
        Err(_) => SECONDS,
    };
    let directory = tempfile::tempdir()?;
    let (near, far) = (directory.path().join("near"), directory.path().join("far"));
    let server = Server::start(language, &far).await?;
    let relay = Relay::start(&near, &far)?;
    let stage = Stage {
        language,
        far,
        relay,
        over: AtomicBool::new(false),
    };
    let remote = RemoteAgent::builder(format!("unix://{}", near.display()).as_str())
        .max_connections(if max_in_flight > 1 { 2 } else { 8 })
        .max_in_flight_per_connection(max_in_flight)
        .retry(RetryPolicy::new().backoff(Duration::from_millis(5), Duration::from_millis(100)))
        .build()?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let callers = (0..CALLERS).map(|caller| stage.call_until_over(&remote, caller));
    let (ends, (server, kills)) = tokio::try_join!(
        try_join_all(callers),
        stage.trouble(server, Rng::with_seed(seconds), until)
    )?;

    // Without any help the same client works again.
    let reply = remote.process(Message::user("after all that")).await?;
    expect("the reply", &reply.text(), &Some("after all that"))?;
    let stats = remote.stats();
    expect(
        "what is in flight",
        &(stats.in_flight, stats.waiting),
        &(0, 0),
    )?;
    remote.close().await;
    server.kill().await?;

    let mut all = Ends::new();
    for (end, count) in ends.into_iter().flatten() {
        *all.entry(end).or_default() += count;
    }
    let calls: u64 = all.values().sum();
    println!(
        "{label}: {calls} calls, {kills} kills, {} reconnects: {all:?}",
        stats.reconnects
    );
    // It must have been both: calls, and trouble.
    for end in ["answered", "streamed", "dropped"] {
        expect_that(all.contains_key(end), || {
            format!("no call was {end}: {all:?}")
        })?;
    }
    expect_that(kills > 0, || "the server was never killed".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_server_and_connections_of_their_own() -> Outcome {
    chaos("Rust, own connections", Language::Rust, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_server_and_shared_connections() -> Outcome {
    chaos("Rust, shared connections", Language::Rust, 8).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_server_and_connections_of_their_own() -> Outcome {
    chaos("Python, own connections", Language::Python, 1).await
}
