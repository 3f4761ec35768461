//! Calls under every kind of failure: servers are killed and frozen, connections are cut, reset,
//! slowed and half-closed, addresses are dead, calls time out and are dropped.
//!
//! Each reply must belong to its call, each call must end, and nothing may be left behind. By
//! default the test makes some thousand calls. `AGENTWIRE_SOAK_SECONDS` or `AGENTWIRE_SOAK_CALLS`
//! makes it longer, and `AGENTWIRE_SEED` selects other failures.
//!
//! This binary has one test, because descriptors, tasks and bytes are counted for the process.

mod caller;
mod dead_address;
mod failures;
mod half_close;
mod progress;
mod round;
mod servers;
mod tally;

use std::{env, str::FromStr, time::Duration};

use agentwire_interop_tests::{Holdings, TestFailure, TestResult, expect_that};
use peak_alloc::PeakAlloc;
use tokio::time::{Instant, sleep};

use self::{progress::Extent, round::round, servers::Servers};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reply_is_wrong_and_nothing_hangs_or_leaks() -> TestResult {
    let seconds = variable("AGENTWIRE_SOAK_SECONDS")?;
    let calls = variable("AGENTWIRE_SOAK_CALLS")?.unwrap_or(CALLS);
    let seed = variable("AGENTWIRE_SEED")?.unwrap_or_default();
    let part = |tenths: u32| match seconds {
        Some(seconds) => Extent::Until(Instant::now() + Duration::from_secs(seconds) * tenths / 10),
        None => Extent::Calls(calls * u64::from(tenths) / 10),
    };
    let start = Instant::now();
    let mut servers = Servers::start().await?;
    let before = Held::measure(&mut servers).await?;
    // The first round allocates what a process keeps, such as the buffers of its runtime.
    let mut tallies = round(&mut servers, seed, part(1)).await?;
    let warm = Held::settled(&mut servers, &before).await?;
    tallies.merge(round(&mut servers, seed ^ 1 << 32, part(9)).await?);
    let after = Held::settled(&mut servers, &before).await?;

    println!("{tallies}");
    println!("{:.0} s, seed {seed}", start.elapsed().as_secs_f64());
    let leaks = after.leaks(&before, &warm);
    match &leaks[..] {
        [] => println!("leaks: none ({after})"),
        leaks => println!("leaks: {}", leaks.join("; ")),
    }
    tallies.check()?;
    expect_that(leaks.is_empty(), || format!("leaks: {leaks:?}"))
}

/// Reads an environment variable that is a number.
fn variable<T: FromStr>(name: &str) -> Result<Option<T>, TestFailure> {
    let Ok(text) = env::var(name) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(TestFailure::new(format!("{name}={text:?} is not a number"))),
    }
}

/// What this process and the servers that are never killed hold.
struct Held {
    processes: [(&'static str, Holdings); 3],
    /// The descriptors of the Python server.
    python_files: usize,
}

impl Held {
    async fn measure(servers: &mut Servers) -> Result<Self, TestFailure> {
        let [unix, tcp] = &mut servers.steady;
        Ok(Self {
            processes: [
                (
                    "this process",
                    Holdings::of_this_process(ALLOCATOR.current_usage()),
                ),
                ("the server on a Unix socket", unix.holdings().await?),
                ("the server on TCP", tcp.holdings().await?),
            ],
            python_files: servers.steady_python.open_files(),
        })
    }

    /// Waits until only the descriptors and tasks of `before` are left, and measures again.
    async fn settled(servers: &mut Servers, before: &Self) -> Result<Self, TestFailure> {
        let guard = Instant::now() + HANG_LIMIT;
        loop {
            let now = Self::measure(servers).await?;
            if now.left_over(before).is_empty() || Instant::now() > guard {
                return Ok(now);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the descriptors and tasks that were not there before, as text.
    fn left_over(&self, before: &Self) -> Vec<String> {
        let mut left = Vec::new();
        for ((name, now), (_, before)) in self.processes.iter().zip(&before.processes) {
            for (what, now, before) in [
                ("descriptors", now.open_files, before.open_files),
                ("tasks", now.tasks, before.tasks),
            ] {
                if now > before {
                    left.push(format!("{name} has {} more {what}", now - before));
                }
            }
        }
        if self.python_files > before.python_files {
            let more = self.python_files - before.python_files;
            left.push(format!("the Python server has {more} more descriptors"));
        }
        left
    }

    /// Returns everything that is left over, as text. Bytes are compared with those after the first
    /// round.
    fn leaks(&self, before: &Self, warm: &Self) -> Vec<String> {
        let mut leaks = self.left_over(before);
        for ((name, now), (_, warm)) in self.processes.iter().zip(&warm.processes) {
            let grown = now.bytes.saturating_sub(warm.bytes);
            if grown > MAX_GROWTH {
                leaks.push(format!("{name} has {grown} more bytes"));
            }
        }
        leaks
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, holdings) in &self.processes {
            write!(f, "{name}: {holdings}; ")?;
        }
        write!(f, "the Python server: {} descriptors", self.python_files)
    }
}

/// The number of calls without a setting, which takes some seconds.
const CALLS: u64 = 20_000;

/// How many bytes a process may hold after all calls beyond those after the first tenth of them.
const MAX_GROWTH: usize = 1024 * 1024;

/// How long something that must happen may take on a machine that is busy with other things.
const HANG_LIMIT: Duration = Duration::from_secs(60);
