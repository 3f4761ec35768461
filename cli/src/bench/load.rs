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

use crate::exit::{Exit, Failure};

/// What is to be called, how often, and by how many at a time.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) callers: usize,
    pub(super) until: Until,
    pub(super) message: Message,
    pub(super) stream: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Until {
    Calls(u64),
    Elapsed(Duration),
}

/// What came of it.
pub(super) struct Outcome {
    pub(super) elapsed: Duration,
    /// How long each call took that was answered, in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// The chunks of streams.
    pub(super) chunks: u64,
    /// How many calls failed, by code.
    pub(super) errors: BTreeMap<String, u64>,
}

/// Three digits of each latency are kept, whatever it is.
const DIGITS: u8 = 3;

const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// What all callers see of each other.
struct Shared {
    begun: AtomicU64,
    done: AtomicU64,
    /// How long calls took, in a histogram for each thread: one for each of ten thousand callers would take more
    /// memory than all else.
    latency: Vec<Mutex<Histogram<u64>>>,
}

#[derive(Default)]
struct Caller {
    chunks: u64,
    errors: BTreeMap<String, u64>,
    first_error: Option<Error>,
}

impl Load {
    /// # Errors
    ///
    /// The first error of a call, if none at all was answered.
    pub(super) async fn run(
        self,
        remote: &RemoteAgent,
        progress: bool,
    ) -> Result<Outcome, Failure> {
        let latency =
            Histogram::new(DIGITS).map_err(|error| Failure::from_error(Exit::Usage, &error))?;
        let threads = available_parallelism().map_or(1, usize::from);
        let shared = Arc::new(Shared {
            begun: AtomicU64::new(0),
            done: AtomicU64::new(0),
            latency: (0..threads).map(|_| Mutex::new(latency.clone())).collect(),
        });
        let mut all = Caller::default();
        let start = Instant::now();
        let mut callers = JoinSet::new();
        for number in 0..self.callers {
            let (load, remote, shared) = (self.clone(), remote.clone(), Arc::clone(&shared));
            callers
                .spawn(async move { load.call_until_over(number, &remote, &shared, start).await });
        }
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        loop {
            tokio::select! {
                caller = callers.join_next() => match caller {
                    Some(Ok(caller)) => all.add(caller),
                    // A caller does not panic, and nobody aborts one.
                    Some(Err(_)) => {}
                    None => break,
                },
                _ = ticks.tick(), if progress => show_progress(&shared, start.elapsed()),
            }
        }
        let elapsed = start.elapsed();
        if progress {
            // Nobody is told of a standard error that is gone.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let latency = shared.merged(latency);
        match all.first_error {
            Some(error) if latency.is_empty() => Err(error.into()),
            _ => Ok(Outcome {
                elapsed,
                latency,
                chunks: all.chunks,
                errors: all.errors,
            }),
        }
    }

    async fn call_until_over(
        &self,
        number: usize,
        remote: &RemoteAgent,
        shared: &Shared,
        start: Instant,
    ) -> Caller {
        let mut caller = Caller::default();
        loop {
            let begun = shared.begun.fetch_add(1, Relaxed);
            let over = match self.until {
                Until::Calls(calls) => begun >= calls,
                Until::Elapsed(duration) => start.elapsed() >= duration,
            };
            if over {
                return caller;
            }
            let start = Instant::now();
            let result = match self.stream {
                true => self.stream(remote, &mut caller.chunks).await,
                false => remote.process(self.message.clone()).await.map(drop),
            };
            match result {
                Ok(()) => shared.took(number, start.elapsed()),
                Err(error) => {
                    *caller.errors.entry(error.code().to_string()).or_default() += 1;
                    let gone = error.is_connect();
                    caller.first_error.get_or_insert(error);
                    if gone {
                        // It was tried for as long as a call may take; there is nobody to measure.
                        return caller;
                    }
                }
            }
            shared.done.fetch_add(1, Relaxed);
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
    /// A call of this caller took so long.
    fn took(&self, number: usize, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let latency = &self.latency[number % self.latency.len()];
        let mut latency = latency.lock();
        // It grows as it needs to.
        let _ = latency.record(nanoseconds);
    }

    /// All that was recorded, added to an empty one.
    fn merged(&self, mut all: Histogram<u64>) -> Histogram<u64> {
        for latency in &self.latency {
            let latency = latency.lock();
            // Both grow as they need to, so this cannot fail.
            let _ = all.add(&*latency);
        }
        all
    }
}

impl Caller {
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
    let done = shared.done.load(Relaxed);
    let rate = done as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let seconds = elapsed.as_secs_f64();
    // Nobody is told of a standard error that is gone.
    let _ = write!(
        io::stderr(),
        "\r\x1b[K{seconds:6.1} s  {done} calls  {rate:.0}/s"
    );
}
