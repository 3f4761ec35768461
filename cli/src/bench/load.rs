//! Callers that generate load on an agent and measure its latency.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use agentwire::{
    Error, Message, RemoteAgent,
    transport::internal::{MAX_TIMEOUT, Mutex},
};
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
#[derive(Debug)]
pub(super) struct Measurements {
    /// The time of the run, which ends at the limit of the run even if a call is still in flight.
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
    /// One set of results per thread. With ten thousand callers, one histogram per caller would use
    /// more memory than everything else.
    results: Vec<Mutex<Results>>,
}

/// The results of some of the callers.
struct Results {
    latency: Histogram<u64>,
    chunks: u64,
    errors: BTreeMap<String, u64>,
    first_error: Option<Error>,
}

impl Load {
    /// Runs all callers until the limit of the run, or until `stop` resolves. Calls that are then
    /// in flight are aborted and not counted. If `progress` is true, shows the progress on standard
    /// error.
    ///
    /// # Errors
    ///
    /// Returns the first error of a call if no call succeeded.
    pub(super) async fn run(
        self,
        remote: &RemoteAgent,
        progress: bool,
        stop: impl Future<Output = ()>,
    ) -> Result<Measurements, CliError> {
        let latency =
            Histogram::new(DIGITS).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        let threads = available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            results: (0..threads)
                .map(|_| Mutex::new(Results::new(latency.clone())))
                .collect(),
        });
        let start = Instant::now();
        let mut callers = JoinSet::new();
        for number in 0..self.callers {
            let (load, remote, shared) = (self.clone(), remote.clone(), Arc::clone(&shared));
            callers.spawn(async move { load.call_repeatedly(number, &remote, &shared).await });
        }
        let limit = match self.until {
            Until::Elapsed(limit) => limit.min(MAX_TIMEOUT),
            Until::Calls(_) => MAX_TIMEOUT,
        };
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let mut end = pin!(async {
            tokio::select! {
                () = tokio::time::sleep(limit.saturating_sub(start.elapsed())) => {}
                () = stop => {}
            }
        });
        loop {
            tokio::select! {
                biased;
                () = &mut end => break,
                ended = callers.join_next() => if ended.is_none() {
                    break;
                },
                _ = ticks.tick(), if progress => show_progress(&shared, start.elapsed()),
            }
        }
        let elapsed = start.elapsed();
        callers.shutdown().await;
        if progress {
            // Ignore an error: if standard error is closed, it cannot be reported.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        shared.merged(latency).into_measurements(elapsed)
    }

    async fn call_repeatedly(&self, number: usize, remote: &RemoteAgent, shared: &Shared) {
        loop {
            let started = shared.started.fetch_add(1, Relaxed);
            if let Until::Calls(calls) = self.until {
                if started >= calls {
                    return;
                }
            }
            let start = Instant::now();
            let mut chunks = 0;
            let result = if self.stream {
                self.stream(remote, &mut chunks).await
            } else {
                remote.process(self.message.clone()).await.map(drop)
            };
            let elapsed = start.elapsed();
            let is_unreachable = result.as_ref().is_err_and(Error::is_connect);
            shared
                .results(number)
                .lock()
                .record(result, chunks, elapsed);
            shared.finished.fetch_add(1, Relaxed);
            if is_unreachable {
                // The client has retried until the timeout of the call, so there is no server left
                // to measure.
                return;
            }
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

impl Measurements {
    /// Returns the number of failed calls.
    pub(super) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

impl Shared {
    /// Returns the results to which a caller adds its own.
    fn results(&self, number: usize) -> &Mutex<Results> {
        &self.results[number % self.results.len()]
    }

    /// Adds up the results of all threads. `latency` is empty.
    fn merged(&self, latency: Histogram<u64>) -> Results {
        let mut all = Results::new(latency);
        for results in &self.results {
            all.add(&mut results.lock());
        }
        all
    }
}

impl Results {
    fn new(latency: Histogram<u64>) -> Self {
        Self {
            latency,
            chunks: 0,
            errors: BTreeMap::new(),
            first_error: None,
        }
    }

    /// Records the result of one call.
    fn record(&mut self, result: Result<(), Error>, chunks: u64, elapsed: Duration) {
        self.chunks += chunks;
        match result {
            Ok(()) => {
                let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
                // The histogram resizes itself, so this cannot fail.
                let _ = self.latency.record(nanoseconds);
            }
            Err(error) => {
                self.count(error.code().to_string(), 1);
                self.first_error.get_or_insert(error);
            }
        }
    }

    /// Counts failed calls. The server chooses the codes, so the number of different codes is
    /// limited.
    fn count(&mut self, code: String, calls: u64) {
        let is_full = self.errors.len() >= MAX_CODES && !self.errors.contains_key(&code);
        let code = if is_full {
            "other codes".to_owned()
        } else {
            code
        };
        *self.errors.entry(code).or_default() += calls;
    }

    fn add(&mut self, other: &mut Self) {
        // The histogram resizes itself, so this cannot fail.
        let _ = self.latency.add(&other.latency);
        self.chunks += other.chunks;
        for (code, calls) in std::mem::take(&mut other.errors) {
            self.count(code, calls);
        }
        if let Some(error) = other.first_error.take() {
            self.first_error.get_or_insert(error);
        }
    }

    fn into_measurements(self, elapsed: Duration) -> Result<Measurements, CliError> {
        match self.first_error {
            Some(error) if self.latency.is_empty() => Err(error.into()),
            None if self.latency.is_empty() => {
                let text = format!("no call was answered within {elapsed:.1?}");
                Err(CliError::new(Exit::TimedOut, text))
            }
            _ => Ok(Measurements {
                elapsed,
                latency: self.latency,
                chunks: self.chunks,
                errors: self.errors,
            }),
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

/// The maximum number of different error codes in a report.
const MAX_CODES: usize = 100;
