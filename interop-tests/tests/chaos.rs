//! Calls under failures: the server is killed, connections are cut, calls time out and are dropped.
//!
//! Each call ends in time, with its own reply or with a typed error, and the client recovers by
//! itself. `AGENTWIRE_SOAK_SECONDS` makes the tests run longer.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use agentwire::{CallOptions, Error, Message, RemoteAgent, RetryPolicy};
use agentwire_interop_tests::{
    AgentKind, PythonServer, Relay, RustServer, TestFailure, TestResult, expect, expect_that,
};
use fastrand::Rng;
use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep, timeout};

#[derive(Clone, Copy)]
enum Language {
    Rust,
    Python,
}

/// A server that can be killed.
enum Server {
    Rust(RustServer),
    Python(PythonServer),
}

impl Server {
    async fn start(language: Language, path: &Path) -> Result<Self, TestFailure> {
        let endpoint = format!("unix://{}", path.display());
        Ok(match language {
            Language::Rust => {
                let program = env!("CARGO_BIN_EXE_interop-agent");
                Self::Rust(RustServer::start(program, &endpoint).await?)
            }
            Language::Python => {
                Self::Python(PythonServer::start(AgentKind::Interop, &endpoint).await?)
            }
        })
    }

    /// Kills the process, as `kill -9` does.
    async fn kill(self) -> TestResult {
        match self {
            Self::Rust(server) => server.kill().await,
            Self::Python(server) => server.kill().await,
        }
    }
}

/// The number of calls with each outcome.
type Outcomes = BTreeMap<String, u64>;

struct Scenario {
    language: Language,
    far: PathBuf,
    relay: Relay,
    /// Tells the callers to stop.
    is_over: AtomicBool,
}

impl Scenario {
    /// Kills and restarts the server, and cuts connections, until an instant. Returns the server
    /// and the number of kills.
    async fn cause_failures(
        &self,
        mut server: Server,
        mut random: Rng,
        until: Instant,
    ) -> Result<(Server, u64), TestFailure> {
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
        self.is_over.store(true, Relaxed);
        Ok((server, kills))
    }

    async fn call_until_over(
        &self,
        remote: &RemoteAgent,
        caller: u64,
    ) -> Result<Outcomes, TestFailure> {
        let mut random = Rng::with_seed(caller);
        let mut outcomes = Outcomes::new();
        let mut number = 0;
        while !self.is_over.load(Relaxed) {
            number += 1;
            let text = format!("call {number} of caller {caller}");
            let during = |failure: TestFailure| failure.during(&text);
            let outcome = self.call(remote, &text, &mut random).await;
            *outcomes.entry(outcome.map_err(during)?).or_default() += 1;
        }
        Ok(outcomes)
    }

    /// Makes one call and returns its outcome, or fails the test if the outcome is not allowed.
    async fn call(
        &self,
        remote: &RemoteAgent,
        text: &str,
        random: &mut Rng,
    ) -> Result<String, TestFailure> {
        let mut message = Message::user(text);
        if random.u8(..4) == 0 {
            message = message
                .with_metadata("do", "slow")
                .with_metadata("ms", random.u8(..40));
        }
        let limit = Duration::from_millis(random.u64(1..400));
        let options = CallOptions::new().timeout(limit);
        let start = Instant::now();
        let (outcome, limit) = match random.u8(..10) {
            0 => {
                let call = remote.process_with(message, &options);
                match timeout(Duration::from_millis(random.u64(..20)), call).await {
                    Ok(result) => (check_result(result, text)?, limit),
                    Err(_) => ("dropped".to_owned(), limit),
                }
            }
            1 => {
                let count = random.u32(1..5);
                let message = Message::user(text).with_metadata("count", count);
                let mut stream = remote.stream_with(message, &options);
                let mut number = 0;
                let outcome = loop {
                    match stream.next().await {
                        Some(Ok(chunk)) => {
                            let wanted = format!("{text} #{number}");
                            expect("a chunk", &chunk.text(), &Some(wanted.as_str()))?;
                            number += 1;
                        }
                        Some(Err(error)) => break check_error(&error)?,
                        None => {
                            expect("the chunks", &number, &count)?;
                            break "streamed".to_owned();
                        }
                    }
                };
                (outcome, limit * (count + 2))
            }
            _ => (
                check_result(remote.process_with(message, &options).await, text)?,
                limit,
            ),
        };
        let elapsed = start.elapsed();
        expect_that(elapsed < limit + MARGIN, || {
            format!("{outcome} after {elapsed:?}, with a limit of {limit:?}")
        })?;
        Ok(outcome)
    }
}

fn check_result(result: Result<Message, Error>, text: &str) -> Result<String, TestFailure> {
    match result {
        Ok(reply) => {
            expect("the reply", &reply.text(), &Some(text))?;
            Ok("answered".to_owned())
        }
        Err(error) => check_error(&error),
    }
}

/// Returns the outcome of an error that a killed server or a cut connection may cause.
fn check_error(error: &Error) -> Result<String, TestFailure> {
    match error {
        Error::Timeout { phase, .. } => Ok(format!("timed out {phase:?}")),
        Error::ConnectionFailed { .. } => Ok("connection failed".to_owned()),
        Error::ConnectionClosed { .. } => Ok("connection closed".to_owned()),
        other => Err(TestFailure::new(format!("{other:?}"))),
    }
}

/// Runs the scenario. The label identifies the output of tests that run at the same time.
async fn chaos(label: &str, language: Language, max_in_flight: usize) -> TestResult {
    let seconds = match env::var("AGENTWIRE_SOAK_SECONDS") {
        Ok(text) => text.parse::<u64>()?,
        Err(_) => SECONDS,
    };
    let directory = tempfile::tempdir()?;
    let (near, far) = (directory.path().join("near"), directory.path().join("far"));
    let server = Server::start(language, &far).await?;
    let relay = Relay::start(&near, &far)?;
    let scenario = Scenario {
        language,
        far,
        relay,
        is_over: AtomicBool::new(false),
    };
    let remote = RemoteAgent::builder(format!("unix://{}", near.display()).as_str())
        .max_connections(if max_in_flight > 1 { 2 } else { 8 })
        .max_in_flight_per_connection(max_in_flight)
        .retry(RetryPolicy::new().backoff(Duration::from_millis(5), Duration::from_millis(100)))
        .build()?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let callers = (0..CALLERS).map(|caller| scenario.call_until_over(&remote, caller));
    let (outcomes, (server, kills)) = tokio::try_join!(
        try_join_all(callers),
        scenario.cause_failures(server, Rng::with_seed(seconds), until)
    )?;

    // The same client works again, without any help.
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

    let mut all = Outcomes::new();
    for (outcome, count) in outcomes.into_iter().flatten() {
        *all.entry(outcome).or_default() += count;
    }
    let calls: u64 = all.values().sum();
    println!(
        "{label}: {calls} calls, {kills} kills, {} reconnects: {all:?}",
        stats.reconnects
    );
    // The test is meaningful only if calls succeeded and the server was killed.
    for outcome in ["answered", "streamed", "dropped"] {
        expect_that(all.contains_key(outcome), || {
            format!("no call was {outcome}: {all:?}")
        })?;
    }
    expect_that(kills > 0, || "the server was never killed".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_server_with_exclusive_connections() -> TestResult {
    chaos("Rust, exclusive connections", Language::Rust, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rust_server_with_shared_connections() -> TestResult {
    chaos("Rust, shared connections", Language::Rust, 8).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_server_with_exclusive_connections() -> TestResult {
    chaos("Python, exclusive connections", Language::Python, 1).await
}

const SECONDS: u64 = 5;
const CALLERS: u64 = 16;

/// The time that a call may take beyond its timeout, on a machine that is busy killing and starting
/// processes.
const MARGIN: Duration = Duration::from_secs(20);
