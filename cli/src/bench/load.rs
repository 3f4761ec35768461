//! Callers that generate load on an agent and measure its latency.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use agentwire::{Error, Message, RemoteAgent, transport::internal::Mutex};
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use crate::exit::{CliError, Exit};

/// The load to generate on an agent.
#[derive(Clone)]
pub(super) struct Load {
    /// The number of concurrent callers.
    pub(super) callers: usize,
    pub(super) until: Until,
    pub(super) message: Message,
    pub(super) stream: bool,
}

/// The condition that ends a run.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Calls(u64),
    Elapsed(Duration),
}

/// The measurements of a run.
pub(super) struct Measurements {
    pub(super) elapsed: Duration,
    /// The latency of each successful call, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// The number of chunks received.
    pub(super) chunks: u64,
    /// The number of failed calls for each error code.
    pub(super) errors: BTreeMap<String, u64>,
}

/// State shared by all callers.
///
/// Relaxed ordering suffices for the counters because they are independent of each other and do not
/// synchronize access to other memory.
struct Shared {
    started: AtomicU64,
    finished: AtomicU64,
    /// One histogram per thread. With ten thousand callers, one histogram per caller would use more
    /// memory than everything else.
    latencies: Vec<Mutex<Histogram<u64>>>,
}

/// The results of one caller.
#[derive(Default)]
struct CallerResults {
    chunks: u64,
    errors: BTreeMap<String, u64>,
    first_error: Option<Error>,
}

impl Load {
    /// Runs all callers to completion. If `progress` is true, shows the progress on standard error.
    ///
    /// # Errors
    ///
    /// Returns the first error of a call if no call succeeded.
    pub(super) async fn run(
        self,
        remote: &RemoteAgent,
        progress: bool,
    ) -> Result<Measurements, CliError> {
        let latency =
            Histogram::new(DIGITS).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        let threads = available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            latencies: (0..threads).map(|_| Mutex::new(latency.clone())).collect(),
        });
        let mut all = CallerResults::default();
        let start = Instant::now();
        let mut callers = JoinSet::new();
        for number in 0..self.callers {
            let (load, remote, shared) = (self.clone(), remote.clone(), Arc::clone(&shared));
            callers
                .spawn(async move { load.call_repeatedly(number, &remote, &shared, start).await });
        }
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            tokio::select! {
                caller = callers.join_next() => match caller {
                    Some(Ok(caller)) => all.add(caller),
                    // Callers do not panic and are never aborted.
                    Some(Err(_)) => {}
                    None => break,
                },
                _ = ticks.tick(), if progress => show_progress(&shared, start.elapsed()),
            }
        }
        let elapsed = start.elapsed();
        if progress {
            // Ignore an error: if standard error is closed, it cannot be reported.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let latency = shared.merged(latency);
        match all.first_error {
            Some(error) if latency.is_empty() => Err(error.into()),
            _ => Ok(Measurements {
                elapsed,
                latency,
                chunks: all.chunks,
                errors: all.errors,
            }),
        }
    }

    async fn call_repeatedly(
        &self,
        number: usize,
        remote: &RemoteAgent,
        shared: &Shared,
        start: Instant,
    ) -> CallerResults {
        let mut caller = CallerResults::default();
        loop {
            let started = shared.started.fetch_add(1, Relaxed);
            let is_over = match self.until {
                Until::Calls(calls) => started >= calls,
                Until::Elapsed(duration) => start.elapsed() >= duration,
            };
            if is_over {
                return caller;
            }
            let start = Instant::now();
            let result = if self.stream {
                self.stream(remote, &mut caller.chunks).await
            } else {
                remote.process(self.message.clone()).await.map(drop)
            };
            match result {
                Ok(()) => shared.record(number, start.elapsed()),
                Err(error) => {
                    *caller.errors.entry(error.code().to_string()).or_default() += 1;
                    let is_unreachable = error.is_connect();
                    caller.first_error.get_or_insert(error);
                    if is_unreachable {
                        // The client has already retried until the timeout of the call, so the
                        // server is gone and the run ends.
                        return caller;
                    }
                }
            }
            shared.finished.fetch_add(1, Relaxed);
        }
    }

    async fn stream(&self, remote: &RemoteAgent, chunks: &mut u64) -> Result<(), Error> {
        let mut stream = remote.stream(self.message.clone());
        while let Some(chunk) = stream.next().await {
            chunk?;
            *chunks += 1;
        }
        Ok(())
    }
}

impl Shared {
    /// Records the latency of one call.
    fn record(&self, number: usize, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let latency = &self.latencies[number % self.latencies.len()];
        let mut latency = latency.lock();
        // The histogram resizes automatically, so this cannot fail.
        let _ = latency.record(nanoseconds);
    }

    /// Adds the histograms of all threads to `all`, which must be empty.
    fn merged(&self, mut all: Histogram<u64>) -> Histogram<u64> {
        for latency in &self.latencies {
            let latency = latency.lock();
            // The histogram resizes automatically, so this cannot fail.
            let _ = all.add(&*latency);
        }
        all
    }
}

impl CallerResults {
    fn add(&mut self, other: Self) {
        self.chunks += other.chunks;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        if let Some(error) = other.first_error {
            self.first_error.get_or_insert(error);
        }
    }
}

fn show_progress(shared: &Shared, elapsed: Duration) {
    let finished = shared.finished.load(Relaxed);
    let rate = finished as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let seconds = elapsed.as_secs_f64();
    // Ignore an error: if standard error is closed, it cannot be reported.
    let _ = write!(
        io::stderr(),
        "\r\x1b[K{seconds:6.1} s  {finished} calls  {rate:.0}/s"
    );
}

/// The number of significant digits that the histograms keep of each latency.
const DIGITS: u8 = 3;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
