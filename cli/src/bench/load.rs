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
    Error, ErrorCode, Map, Message, RemoteAgent,
    transport::internal::{MAX_TIMEOUT, Mutex},
};
use hdrhistogram::Histogram;
use tokio::{task::JoinSet, time::sleep_until};

use super::rate::Rate;
use crate::exit::{CliError, Exit, with_code};

/// The load to generate on an agent.
#[derive(Clone)]
pub(super) struct Load {
    /// The number of concurrent callers.
    pub(super) callers: usize,
    pub(super) until: Until,
    /// The time before the measurement, in which calls are made, too.
    pub(super) warm_up: Duration,
    /// How often calls start, or `None` if each call starts when another one ends.
    pub(super) rate: Option<Rate>,
    pub(super) work: Work,
}

/// The work of each call.
#[derive(Debug, Clone)]
pub(super) enum Work {
    Call(Message),
    Stream(Message),
    Tool(String, Map),
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
    /// The number of calls that should have started within the time of the run, but did not,
    /// because all callers waited for answers.
    pub(super) missed: u64,
}

/// State shared by all callers.
///
/// Relaxed ordering suffices for the counters because they are independent of each other and do not
/// synchronize access to other memory.
struct Shared {
    /// When the measurement begins.
    begin: Instant,
    /// The calls that were started before the measurement.
    warm_ups: AtomicU64,
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
    first_error: Option<Failure>,
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
        let first = Instant::now();
        let shared = Arc::new(Shared {
            begin: first + self.warm_up.min(MAX_TIMEOUT),
            warm_ups: AtomicU64::new(0),
            started: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            results: (0..threads)
                .map(|_| Mutex::new(Results::new(latency.clone())))
                .collect(),
        });
        let begin = shared.begin;
        let mut callers = JoinSet::new();
        for number in 0..self.callers {
            let (load, remote, shared) = (self.clone(), remote.clone(), Arc::clone(&shared));
            callers.spawn(async move {
                load.call_repeatedly(number, first, &remote, &shared).await;
            });
        }
        let limit = match self.until {
            Until::Elapsed(limit) => limit.min(MAX_TIMEOUT),
            Until::Calls(_) => MAX_TIMEOUT,
        };
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let mut end = pin!(async {
            tokio::select! {
                () = sleep_until((begin + limit).into()) => {}
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
                _ = ticks.tick(), if progress => show_progress(&shared),
            }
        }
        let elapsed = begin.elapsed();
        callers.shutdown().await;
        if progress {
            // Ignore an error: if standard error is closed, it cannot be reported.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let intended = match (self.rate, self.until) {
            (Some(rate), Until::Elapsed(limit)) => rate.calls_in(elapsed.min(limit)),
            _ => 0,
        };
        let missed = intended.saturating_sub(shared.started.load(Relaxed));
        shared.merged(latency).into_measurements(elapsed, missed)
    }

    /// Makes calls until the limit of the run. `first` is the start of the first call.
    async fn call_repeatedly(
        &self,
        number: usize,
        first: Instant,
        remote: &RemoteAgent,
        shared: &Shared,
    ) {
        loop {
            let Some((start, is_measured)) = self.start(first, shared).await else {
                return;
            };
            let mut chunks = 0;
            let result = self.call(remote, &mut chunks).await;
            let elapsed = start.elapsed();
            let is_unreachable = result.as_ref().is_err_and(Failure::is_connect);
            if is_measured {
                shared
                    .results(number)
                    .lock()
                    .record(result, chunks, elapsed);
                shared.finished.fetch_add(1, Relaxed);
            }
            if is_unreachable && is_measured {
                // The client has retried until the timeout of the call, so there is no server left
                // to measure.
                return;
            }
        }
    }

    /// Waits until the next call is due. Returns the time from which its latency counts, and
    /// whether the call is measured, or `None` after the last call.
    async fn start(&self, first: Instant, shared: &Shared) -> Option<(Instant, bool)> {
        if Instant::now() < shared.begin {
            let number = shared.warm_ups.fetch_add(1, Relaxed);
            let due = self.rate.map(|rate| rate.start_of(number));
            let due = due.and_then(|after| first.checked_add(after));
            match due {
                None => return Some((Instant::now(), false)),
                Some(due) if due < shared.begin => return Some((wait_for(due).await, false)),
                // The call belongs to the measurement, which counts its calls separately.
                Some(_) => {}
            }
        }
        let number = shared.started.fetch_add(1, Relaxed);
        if let Until::Calls(calls) = self.until {
            if number >= calls {
                return None;
            }
        }
        match self.rate {
            None => Some((Instant::now(), true)),
            Some(rate) => {
                let due = shared.begin.checked_add(rate.start_of(number));
                match due {
                    Some(due) if !self.is_over(due, shared) => Some((wait_for(due).await, true)),
                    _ => {
                        // The run ends before the call is due.
                        shared.started.fetch_sub(1, Relaxed);
                        None
                    }
                }
            }
        }
    }

    /// Returns whether a time is after the end of the run.
    fn is_over(&self, due: Instant, shared: &Shared) -> bool {
        match self.until {
            Until::Elapsed(limit) => due >= shared.begin + limit.min(MAX_TIMEOUT),
            Until::Calls(_) => false,
        }
    }

    async fn call(&self, remote: &RemoteAgent, chunks: &mut u64) -> Result<(), Failure> {
        match &self.work {
            Work::Call(message) => {
                remote.process(message.clone()).await?;
            }
            Work::Stream(message) => {
                let mut stream = remote.stream(message.clone());
                while let Some(chunk) = stream.next().await {
                    chunk?;
                    *chunks += 1;
                }
            }
            Work::Tool(tool, args) => {
                let result = remote.execute(tool, args.clone()).await?;
                if !result.success {
                    return Err(Failure::Tool(result.error.unwrap_or_default()));
                }
            }
        }
        Ok(())
    }
}

/// Waits until a call is due, and returns the start of its latency. If the call is late, because
/// all callers waited for answers, its latency begins when it was due. Otherwise, the delay of the
/// timer does not count.
async fn wait_for(due: Instant) -> Instant {
    if due <= Instant::now() {
        return due;
    }
    sleep_until(due.into()).await;
    Instant::now()
}

/// Why a call failed.
#[derive(Debug)]
enum Failure {
    Call(Error),
    /// The error of a tool.
    Tool(String),
}

impl Failure {
    fn is_connect(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_connect())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Call(error) => error.code(),
            Self::Tool(_) => ErrorCode::TOOL_EXECUTION_FAILED,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Call(error)
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Call(error) => error.into(),
            Failure::Tool(reason) => {
                let text = format!("the tool failed: {reason}");
                Self::new(
                    Exit::Remote,
                    with_code(text, &ErrorCode::TOOL_EXECUTION_FAILED),
                )
            }
        }
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
    fn record(&mut self, result: Result<(), Failure>, chunks: u64, elapsed: Duration) {
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

    fn into_measurements(self, elapsed: Duration, missed: u64) -> Result<Measurements, CliError> {
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
                missed,
            }),
        }
    }
}

fn show_progress(shared: &Shared) {
    let elapsed = shared.begin.elapsed();
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
