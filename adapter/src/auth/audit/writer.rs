//! The thread that writes a record.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use agentwire_codec::{Map, Timestamp, Value, json};
use agentwire_transport::internal::LogEdge;
use tokio::sync::Semaphore;

use super::{
    event::{AuditEvent, AuditKind},
    file::LogFile,
};

/// The events that wait for the thread.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    has_changed: Condvar,
    /// A place in the queue for each event.
    pub(super) places: Semaphore,
    /// Whether the last attempt to write has failed.
    is_failing: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(Timestamp, AuditEvent)>,
    /// Events that have been taken out of the queue and are not yet in the file.
    writing: usize,
    dropped: u64,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            has_changed: Condvar::new(),
            places: Semaphore::new(capacity.clamp(1, Semaphore::MAX_PERMITS)),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Queues an event. The caller has taken a place.
    pub(super) fn push(&self, event: AuditEvent) {
        self.state().events.push_back((Timestamp::now(), event));
        self.has_changed.notify_all();
    }

    /// Counts an event that is lost.
    pub(super) fn count_dropped(&self) {
        self.state().dropped += 1;
    }

    pub(super) fn is_failing(&self) -> bool {
        // Relaxed, because the flag guards no other data.
        self.is_failing.load(Relaxed)
    }

    /// Waits until all queued events are written, or until `limit` has passed. Returns the number
    /// of events that are not written.
    pub(super) fn flush(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        let mut state = self.state();
        loop {
            let left = state.events.len() + state.writing;
            let remaining = deadline.saturating_duration_since(Instant::now());
            if left == 0 || remaining.is_zero() {
                return left;
            }
            let waited = self.has_changed.wait_timeout(state, remaining);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets the thread end once all events are written or the next write fails.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.has_changed.notify_all();
    }

    // `internal::Mutex` has no condition variable. The state is valid after a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for events and takes some of them. Returns `None` once the queue is closed and empty.
    fn take(&self) -> Option<(Vec<(Timestamp, AuditEvent)>, u64)> {
        let mut state = self.state();
        while state.events.is_empty() {
            if state.is_closed {
                return None;
            }
            let waited = self.has_changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.events.len().min(BATCH);
        let events = state.events.drain(..count).collect();
        state.writing = count;
        Some((events, std::mem::take(&mut state.dropped)))
    }

    fn written(&self, count: usize) {
        self.state().writing = 0;
        self.places.add_permits(count);
        self.has_changed.notify_all();
    }

    /// Waits before the next attempt. Returns whether there should be one.
    fn wait_to_retry(&self, delay: Duration) -> bool {
        let state = self.state();
        if state.is_closed {
            return false;
        }
        let waited = self
            .has_changed
            .wait_timeout_while(state, delay, |state| !state.is_closed);
        drop(waited);
        true
    }
}

/// Starts the thread, which ends when the queue is closed.
pub(super) fn start(queue: Arc<Queue>, file: LogFile, last_seq: u64) -> io::Result<()> {
    let writer = Writer {
        queue,
        file,
        next_seq: last_seq + 1,
    };
    let builder = thread::Builder::new().name("agentwire-audit".to_owned());
    builder.spawn(move || writer.run()).map(drop)
}

struct Writer {
    queue: Arc<Queue>,
    file: LogFile,
    next_seq: u64,
}

impl Writer {
    fn run(mut self) {
        while let Some((events, dropped)) = self.queue.take() {
            let mut lines = Vec::new();
            let mut seq = self.next_seq;
            if dropped > 0 {
                let mut lost = AuditEvent::new(AuditKind::Dropped, false);
                lost.reason = Some(format!("{dropped} events were not recorded"));
                put_line(
                    &mut lines,
                    &mut seq,
                    &Timestamp::now(),
                    &lost,
                    Some(dropped),
                );
            }
            for (time, event) in &events {
                put_line(&mut lines, &mut seq, time, event, None);
            }
            if !self.write(&lines) {
                tracing::error!(
                    events = events.len(),
                    "audit events lost: the file cannot be written"
                );
                return;
            }
            self.next_seq = seq;
            self.queue.written(events.len());
        }
    }

    /// Writes lines, for as long as it takes. Returns false if the queue was closed in the
    /// meantime.
    fn write(&mut self, lines: &[u8]) -> bool {
        let mut delay = FIRST_RETRY;
        loop {
            match self.file.append(lines) {
                Ok(()) => {
                    if self.queue.is_failing.swap(false, Relaxed) && OUTAGE.end() {
                        tracing::info!("the audit record is written again");
                    }
                    return true;
                }
                Err(error) => {
                    self.queue.is_failing.store(true, Relaxed);
                    if OUTAGE.begin(Instant::now()) {
                        tracing::error!(%error, "audit record cannot be written; retrying");
                    }
                }
            }
            if !self.queue.wait_to_retry(delay) {
                return false;
            }
            delay = (delay * 2).min(MAX_RETRY);
        }
    }
}

fn put_line(
    lines: &mut Vec<u8>,
    seq: &mut u64,
    time: &Timestamp,
    event: &AuditEvent,
    count: Option<u64>,
) {
    let mut record = Map::from([("time", time.to_string())]);
    record.insert("seq", *seq);
    event.put(&mut record);
    if let Some(count) = count {
        record.insert("count", count);
    }
    // A record contains only texts and numbers, which have a JSON form.
    if json::write(&Value::Map(record), lines).is_ok() {
        lines.push(b'\n');
        *seq += 1;
    }
}

/// The number of events that are written at once. A process that is killed can only cut a write
/// short, so the batches are small.
const BATCH: usize = 128;
const FIRST_RETRY: Duration = Duration::from_millis(20);
const MAX_RETRY: Duration = Duration::from_secs(1);

static OUTAGE: LogEdge = LogEdge::new();
