//! Permits with a bounded queue by priority: [`Permits`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use agentwire_transport::internal::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// A number of permits, and the requests that wait for one.
///
/// A permit is free only while no request waits. A returned permit goes directly to the first
/// waiting request, so that no later request can take it.
#[derive(Debug)]
pub(super) struct Permits {
    pub(super) limit: usize,
    pub(super) queue: usize,
    pub(super) max_wait: Duration,
    state: Mutex<State>,
    epoch: Instant,
}

#[derive(Debug)]
struct State {
    free: usize,
    waiting: BTreeMap<Place, oneshot::Sender<Grant>>,
    /// The number of requests that have ever waited.
    sequence: u64,
    /// When a waiting request last got a permit, unless the queue has been empty since.
    last_grant: Option<Instant>,
    /// The mean time between two grants while requests were waiting.
    interval: Option<Duration>,
    /// The number of measured intervals, up to the number that the mean covers.
    intervals: u32,
}

/// Where a request goes in the queue, and how long it may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// How much earlier than now the request counts as arrived, in nanoseconds.
    pub(super) head_start: i64,
    pub(super) deadline: Option<Instant>,
}

/// A place in the queue. The lowest place is the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// When the request arrived, minus the head start of its priority.
    arrival: i64,
    sequence: u64,
}

type Grant = Result<Permit, Refused>;

/// The right to run one request. Dropping the permit returns it.
#[derive(Debug)]
pub(super) struct Permit(Arc<Permits>);

/// A request that got no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) cause: Cause,
    /// The time in which the present queue will have been served.
    pub(super) retry_after: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The queue was full.
    Full,
    /// The request waited for too long.
    Waited(Duration),
}

impl Permits {
    pub(super) fn new(limit: usize, queue: usize, max_wait: Duration) -> Self {
        Self {
            limit,
            queue,
            max_wait,
            state: Mutex::new(State {
                free: limit,
                waiting: BTreeMap::new(),
                sequence: 0,
                last_grant: None,
                interval: None,
                intervals: 0,
            }),
            epoch: Instant::now(),
        }
    }

    pub(super) fn running(&self) -> usize {
        self.limit - self.state.lock().free
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Takes a permit if one is free. While requests wait, none is.
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state.lock();
        state.free = state.free.checked_sub(1)?;
        Some(Permit(Arc::clone(self)))
    }

    /// Takes a permit, or waits for one.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, its place in the queue is free, and a permit that was granted in
    /// the meantime goes to the next request.
    pub(super) async fn acquire(self: &Arc<Self>, order: Order) -> Grant {
        let mut place = match self.enter(order.head_start) {
            Entered::Running(permit) => return Ok(permit),
            Entered::Refused(refused) => return Err(refused),
            Entered::Waiting(place) => place,
        };
        let wait = match order.deadline {
            Some(deadline) => deadline
                .saturating_duration_since(Instant::now())
                .min(self.max_wait),
            None => self.max_wait,
        };
        match timeout(wait, &mut place.grant).await {
            Ok(Ok(grant)) => grant,
            // A place is never removed without an answer. To be safe, count it as refused.
            Ok(Err(_)) => Err(self.refused(Cause::Full)),
            Err(_) => Err(self.refused(Cause::Waited(wait))),
        }
    }

    fn enter(self: &Arc<Self>, head_start: i64) -> Entered<'_> {
        let mut state = self.state.lock();
        if state.free > 0 {
            state.free -= 1;
            return Entered::Running(Permit(Arc::clone(self)));
        }
        let arrival = Instant::now().saturating_duration_since(self.epoch);
        let arrival = i64::try_from(arrival.as_nanos()).unwrap_or(i64::MAX);
        let place = Place {
            arrival: arrival.saturating_sub(head_start),
            sequence: state.sequence,
        };
        let mut replaced = None;
        if state.waiting.len() >= self.queue {
            match state.waiting.last_entry() {
                Some(last) if place < *last.key() => replaced = Some(last.remove()),
                _ => return Entered::Refused(state.refused(Cause::Full)),
            }
        }
        state.sequence += 1;
        let (sender, grant) = oneshot::channel();
        state.waiting.insert(place, sender);
        let refused = state.refused(Cause::Full);
        drop(state);
        if let Some(replaced) = replaced {
            // If the request was dropped in the meantime, it needs no answer.
            let _ = replaced.send(Err(refused));
        }
        Entered::Waiting(Waiting {
            permits: self,
            place,
            grant,
        })
    }

    fn refused(&self, cause: Cause) -> Refused {
        self.state.lock().refused(cause)
    }
}

enum Entered<'a> {
    Running(Permit),
    Refused(Refused),
    Waiting(Waiting<'a>),
}

/// A request in the queue. Dropping it leaves the queue.
struct Waiting<'a> {
    permits: &'a Permits,
    place: Place,
    /// Holds a permit that was granted but not received. If the channel is dropped, so is the
    /// permit.
    grant: oneshot::Receiver<Grant>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.permits.state.lock().waiting.remove(&self.place);
    }
}

impl State {
    /// Measures the time between two grants, which is the time that a place in the queue costs.
    fn record_grant(&mut self) {
        let now = Instant::now();
        if let Some(last) = self.last_grant {
            let interval = now.saturating_duration_since(last);
            let known = self.interval.unwrap_or_default() * self.intervals;
            self.interval = Some((known + interval) / (self.intervals + 1));
            self.intervals = (self.intervals + 1).min(MEAN_OF - 1);
        }
        self.last_grant = (!self.waiting.is_empty()).then_some(now);
    }

    fn refused(&self, cause: Cause) -> Refused {
        let places = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX).max(1);
        let interval = self.interval.unwrap_or(DEFAULT_RETRY_AFTER);
        Refused {
            cause,
            retry_after: interval
                .saturating_mul(places)
                .clamp(MIN_RETRY_AFTER, MAX_RETRY_AFTER),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let Some((_, next)) = state.waiting.pop_first() else {
            state.free += 1;
            return;
        };
        state.record_grant();
        drop(state);
        // If the request has been dropped, the permit in the error is dropped, and the next request
        // gets it.
        let _ = next.send(Ok(Self(Arc::clone(&self.0))));
    }
}

/// The number of intervals whose mean is kept, approximately.
const MEAN_OF: u32 = 16;

/// The retry delay before the first measurement.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_millis(100);
const MIN_RETRY_AFTER: Duration = Duration::from_millis(1);
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
