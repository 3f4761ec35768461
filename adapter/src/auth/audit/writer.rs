//! The thread that writes a record.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use agentwire_codec::{Map, Timestamp, Value, json};
use agentwire_transport::internal::LogEdge;
use tokio::sync::{Semaphore, watch};

use super::{
    event::{AuditEvent, AuditKind},
    problem::{AuditProblem, Reporter},
};

/// The events that wait for the thread.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    has_changed: Condvar,
    /// A place in the queue for each event. Closed once nothing is written any more.
    pub(super) places: Semaphore,
    /// Whether the last attempt to write has failed.
    is_failing: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<(Timestamp, AuditEvent)>,
    /// The number of events that the thread has taken but not written.
    writing: usize,
    /// The number of dropped events that the record does not mention.
    dropped: u64,
    is_closed: bool,
    has_ended: bool,
}

impl State {
    /// Returns the number of events that are not in the record.
    fn missing(&self) -> u64 {
        (self.events.len() + self.writing) as u64 + self.dropped
    }
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            has_changed: Condvar::new(),
            places: Semaphore::new(capacity.clamp(1, Semaphore::MAX_PERMITS)),
            is_failing: watch::Sender::new(false),
        }
    }

    /// Queues an event. The caller has taken a place. Returns false if nothing is written any more.
    pub(super) fn push(&self, event: AuditEvent) -> bool {
        let mut state = self.state();
        if self.places.is_closed() {
            return false;
        }
        state.events.push_back((Timestamp::now(), event));
        drop(state);
        self.has_changed.notify_all();
        true
    }

    /// Counts an event that is lost.
    pub(super) fn count_dropped(&self) {
        self.state().dropped += 1;
    }

    pub(super) fn is_failing(&self) -> bool {
        *self.is_failing.borrow()
    }

    /// Waits while writing fails.
    pub(super) async fn wait_until_written(&self) {
        if self.is_failing() {
            // The sender is a field of this value, so it is not dropped while this future waits.
            let _ = self
                .is_failing
                .subscribe()
                .wait_for(|failing| !failing)
                .await;
        }
    }

    /// Waits until all queued events are written, or until `limit` has passed. Returns whether all
    /// events are written.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        self.wait(limit, |state| state.missing() == 0 || state.has_ended)
            .missing()
            == 0
    }

    /// Refuses further events, waits until all queued events are written, and ends the thread.
    /// Returns the number of events that are not written after `limit`.
    pub(super) fn close(&self, limit: Duration) -> u64 {
        let deadline = Instant::now() + limit;
        {
            // With the lock, so that no event is queued later.
            let _state = self.state();
            self.places.close();
        }
        let _ = self.flush(limit);
        self.state().is_closed = true;
        self.has_changed.notify_all();
        // If writing has failed so far, the thread tries once more. Otherwise, it ends at once. The
        // file is closed then.
        let rest = deadline.saturating_duration_since(Instant::now());
        let mut state = self.wait(rest.max(LAST_ATTEMPT), |state| state.has_ended);
        let missing = state.missing();
        // Lost events are counted once.
        state.events.clear();
        (state.writing, state.dropped) = (0, 0);
        missing
    }

    fn wait(
        &self,
        limit: Duration,
        mut is_done: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'_, State> {
        self.has_changed
            .wait_timeout_while(self.state(), limit, |state| !is_done(state))
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    // `internal::Mutex` has no condition variable. The state is valid after a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for events and takes some of them, and the number of those that are lost. Returns
    /// `None` once the queue is closed and empty.
    fn take(&self) -> Option<(Vec<(Timestamp, AuditEvent)>, u64)> {
        let mut state = self.state();
        while state.events.is_empty() && state.dropped == 0 {
            if state.is_closed {
                return None;
            }
            let waited = self.has_changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.events.len().min(BATCH);
        let events = state.events.drain(..count).collect();
        state.writing = count;
        Some((events, state.dropped))
    }

    /// Notes that events are written, and that a number of lost events is.
    fn written(&self, count: usize, dropped: u64) {
        let mut state = self.state();
        state.writing = 0;
        state.dropped = state.dropped.saturating_sub(dropped);
        drop(state);
        self.places.add_permits(count);
        self.has_changed.notify_all();
    }

    /// Waits before the next attempt. Returns whether there should be one.
    fn wait_to_retry(&self, delay: Duration) -> bool {
        if self.state().is_closed {
            return false;
        }
        drop(self.wait(delay, |state| state.is_closed));
        true
    }
}

/// Where lines are written.
pub(super) trait Lines: Send + 'static {
    /// Appends whole lines: all of them, or on an error none.
    fn append(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// Starts the thread, which ends when the queue is closed.
pub(super) fn start(
    queue: Arc<Queue>,
    lines: impl Lines,
    last_seq: u64,
    reporter: Reporter,
) -> io::Result<()> {
    let writer = Writer {
        lines,
        next_seq: last_seq + 1,
        reporter,
        outage: LogEdge::new(),
        lost: 0,
        last_report: None,
        end: End(queue),
    };
    let builder = thread::Builder::new().name("agentwire-audit".to_owned());
    builder.spawn(move || writer.run()).map(drop)
}

struct Writer<L> {
    lines: L,
    next_seq: u64,
    reporter: Reporter,
    outage: LogEdge,
    /// The number of lost events that have not been reported.
    lost: u64,
    last_report: Option<Instant>,
    /// The last field, so that the file is closed first.
    end: End,
}

/// Refuses further events when the thread ends, even by a panic. Requests would otherwise wait for
/// good.
struct End(Arc<Queue>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_closed = true;
        state.has_ended = true;
        drop(state);
        self.0.places.close();
        self.0.is_failing.send_replace(false);
        self.0.has_changed.notify_all();
    }
}

impl<L: Lines> Writer<L> {
    fn run(mut self) {
        while let Some((events, dropped)) = self.end.0.take() {
            let mut lines = Vec::new();
            let mut seq = self.next_seq;
            if dropped > 0 {
                let mut lost = AuditEvent::new(AuditKind::Dropped, false);
                lost.reason = Some(format!("{dropped} events were not recorded"));
                let now = Timestamp::now();
                put_line(&mut lines, &mut seq, &now, &lost, Some(dropped));
            }
            for (time, event) in &events {
                put_line(&mut lines, &mut seq, time, event, None);
            }
            if !self.write(&lines) {
                break;
            }
            self.next_seq = seq;
            self.lost += dropped;
            let is_due = |last: Instant| last.elapsed() >= REPORT_INTERVAL;
            if self.last_report.is_none_or(is_due) {
                self.report_lost();
            }
            self.end.0.written(events.len(), dropped);
        }
        self.report_lost();
    }

    fn report_lost(&mut self) {
        if self.lost > 0 {
            let events = std::mem::take(&mut self.lost);
            self.last_report = Some(Instant::now());
            self.reporter.report(AuditProblem::Lost { events });
        }
    }

    /// Writes lines, for as long as it takes. Returns false if the queue was closed in the
    /// meantime.
    fn write(&mut self, lines: &[u8]) -> bool {
        let queue = Arc::clone(&self.end.0);
        let mut delay = FIRST_RETRY;
        loop {
            match self.lines.append(lines) {
                Ok(()) => {
                    if queue.is_failing.send_replace(false) && self.outage.end() {
                        self.reporter.report(AuditProblem::Recovered);
                    }
                    return true;
                }
                Err(error) => {
                    if !queue.is_failing.send_replace(true) && self.outage.begin(Instant::now()) {
                        let error = error.to_string();
                        self.reporter.report(AuditProblem::Unwritable { error });
                    }
                }
            }
            if !queue.wait_to_retry(delay) {
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

/// The time for the last attempt to write.
const LAST_ATTEMPT: Duration = Duration::from_millis(500);

/// The least time between two reports of lost events, except for the last one.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use agentwire_transport::internal::Mutex as SimpleMutex;

    use super::*;
    use crate::auth::{Audit, JsonLines, NotRecorded, Overload};

    /// A disk that is full until it is not.
    #[derive(Debug, Clone, Default)]
    struct Disk {
        is_full: Arc<AtomicBool>,
        panics: bool,
        text: Arc<SimpleMutex<String>>,
        problems: Arc<SimpleMutex<Vec<AuditProblem>>>,
    }

    impl Lines for Disk {
        fn append(&mut self, lines: &[u8]) -> io::Result<()> {
            assert!(!self.panics, "a defect of the sink");
            if self.is_full.load(Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *self.text.lock() += std::str::from_utf8(lines).unwrap();
            Ok(())
        }
    }

    impl Disk {
        fn full() -> Self {
            let disk = Self::default();
            disk.is_full.store(true, Relaxed);
            disk
        }

        fn open(&self, overload: Overload) -> JsonLines {
            let problems = Arc::clone(&self.problems);
            let reporter = Reporter::new(move |problem| problems.lock().push(problem.clone()));
            JsonLines::start(
                self.clone(),
                "audit.jsonl".into(),
                0,
                overload,
                CAPACITY,
                reporter,
            )
            .unwrap()
        }

        fn numbers(&self) -> Vec<u64> {
            let text = self.text.lock();
            let records = text
                .lines()
                .map(|line| json::from_slice(line.as_bytes()).unwrap());
            records
                .map(|record| record.get("seq").unwrap().as_u64().unwrap())
                .collect()
        }

        fn problems(&self) -> Vec<String> {
            self.problems
                .lock()
                .iter()
                .map(ToString::to_string)
                .collect()
        }
    }

    fn event() -> AuditEvent {
        AuditEvent::new(AuditKind::Authorization, true)
    }

    async fn until(mut is_reached: impl FnMut() -> bool) {
        while !is_reached() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn requests_wait_while_the_disk_is_full_and_nothing_is_lost() {
        let disk = Disk::full();
        let audit = disk.open(Overload::Block);
        audit.record(event()).await.unwrap();
        until(|| !disk.problems().is_empty()).await;
        let waiting = tokio::spawn({
            let audit = audit.clone();
            async move { audit.record(event()).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        disk.is_full.store(false, Relaxed);
        waiting.await.unwrap().unwrap();
        assert_eq!(audit.close(LIMIT), 0);
        assert_eq!(disk.numbers(), [1, 2]);
        let [failure, recovery] = &disk.problems()[..] else {
            panic!("{:?}", disk.problems());
        };
        assert!(failure.contains("cannot be written"), "{failure}");
        assert!(recovery.contains("written again"), "{recovery}");
    }

    #[tokio::test]
    async fn requests_are_refused_while_the_disk_is_full() {
        let disk = Disk::full();
        let audit = disk.open(Overload::Deny);
        audit.record(event()).await.unwrap();
        until(|| !disk.problems().is_empty()).await;
        assert_eq!(audit.record(event()).await, Err(NotRecorded));
        disk.is_full.store(false, Relaxed);
        until(|| disk.problems().len() == 2).await;
        audit.record(event()).await.unwrap();
        assert_eq!(audit.close(LIMIT), 0);
        assert_eq!(disk.numbers(), [1, 2]);
        assert_eq!(audit.record(event()).await, Err(NotRecorded));
    }

    #[tokio::test]
    async fn dropped_events_are_counted_in_the_record_and_reported() {
        let disk = Disk::full();
        let audit = disk.open(Overload::Drop);
        for _ in 0..CAPACITY + 3 {
            audit.record(event()).await.unwrap();
        }
        disk.is_full.store(false, Relaxed);
        assert_eq!(audit.close(LIMIT), 0);
        let text = disk.text.lock().clone();
        assert_eq!(
            disk.numbers(),
            (1..=CAPACITY as u64 + 1).collect::<Vec<_>>()
        );
        assert_eq!(text.matches(r#""event": "dropped""#).count(), 1, "{text}");
        assert!(text.contains(r#""count": 3"#), "{text}");
        assert!(disk.problems().contains(&"3 audit events lost".to_owned()));
    }

    #[tokio::test]
    async fn events_that_cannot_be_written_before_the_end_are_counted_and_reported() {
        let disk = Disk::full();
        let audit = disk.open(Overload::Drop);
        for _ in 0..CAPACITY + 3 {
            audit.record(event()).await.unwrap();
        }
        assert_eq!(audit.close(Duration::from_millis(1)), CAPACITY as u64 + 3);
        let expected = format!("{} audit events lost", CAPACITY + 3);
        assert_eq!(disk.problems().last(), Some(&expected));
        // The end is reported once.
        let before = disk.problems().len();
        drop(audit);
        assert_eq!(disk.problems().len(), before);
    }

    #[tokio::test]
    async fn requests_are_refused_after_a_panic_of_the_thread() {
        let disk = Disk {
            panics: true,
            ..Disk::default()
        };
        let audit = disk.open(Overload::Block);
        let mut refused = 0;
        for _ in 0..CAPACITY + 3 {
            refused += u64::from(audit.record(event()).await.is_err());
        }
        until(|| audit.close(LIMIT) + refused == CAPACITY as u64 + 3).await;
        assert_eq!(audit.record(event()).await, Err(NotRecorded));
    }

    const CAPACITY: usize = 4;
    const LIMIT: Duration = Duration::from_secs(30);
}
