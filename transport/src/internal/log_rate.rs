//! Rate limits for log warnings that a peer can trigger.

use std::time::{Duration, Instant};

use super::Mutex;

/// A rate limit for a warning about repeated events. The first event is logged immediately. Further
/// events are summarized in one line every ten seconds, which contains their number.
///
/// ```
/// use std::time::Instant;
/// use agentwire_transport::internal::LogLimit;
///
/// let refusals = LogLimit::new();
/// if let Some(count) = refusals.record(Instant::now()) {
///     println!("request refused ({count} since the last line)");
/// }
/// ```
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<Limit>);

#[derive(Debug, Default)]
struct Limit {
    last_line: Option<Instant>,
    unlogged: u64,
}

impl LogLimit {
    /// Creates a limit without any recorded events.
    pub const fn new() -> Self {
        Self(Mutex::new(Limit {
            last_line: None,
            unlogged: 0,
        }))
    }

    /// Records an event. If a line is due, returns the number of events since the last line,
    /// including this event.
    pub fn record(&self, now: impl Into<Instant>) -> Option<u64> {
        let now = now.into();
        let limit = &mut *self.0.lock();
        limit.unlogged += 1;
        if !is_due(limit.last_line, now) {
            return None;
        }
        limit.last_line = Some(now);
        Some(std::mem::take(&mut limit.unlogged))
    }
}

/// A rate limit for a warning about a condition. The start and the end of the condition are each
/// logged once.
///
/// If the condition starts and ends repeatedly, its start is logged at most once in ten seconds. If
/// a start was suppressed, a later call of [`begin`](Self::begin) logs it if the condition still
/// holds.
#[derive(Debug, Default)]
pub struct LogEdge(Mutex<Edge>);

#[derive(Debug, Default)]
struct Edge {
    last_line: Option<Instant>,
    is_logged: bool,
}

impl LogEdge {
    /// Creates a limit for a condition that does not hold.
    pub const fn new() -> Self {
        Self(Mutex::new(Edge {
            last_line: None,
            is_logged: false,
        }))
    }

    /// Records that the condition holds. Returns true if its start should be logged.
    pub fn begin(&self, now: impl Into<Instant>) -> bool {
        let now = now.into();
        let edge = &mut *self.0.lock();
        if edge.is_logged || !is_due(edge.last_line, now) {
            return false;
        }
        edge.last_line = Some(now);
        edge.is_logged = true;
        true
    }

    /// Records that the condition does not hold. Returns true if its end should be logged, which is
    /// the case once for each logged start.
    pub fn end(&self) -> bool {
        std::mem::take(&mut self.0.lock().is_logged)
    }
}

fn is_due(last_line: Option<Instant>, now: Instant) -> bool {
    last_line.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL)
}

/// The minimum time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_at_once_and_a_flood_as_a_count_every_ten_seconds() {
        let (limit, start) = (LogLimit::new(), Instant::now());
        let lines: Vec<_> = (0..100_000)
            .filter_map(|event| limit.record(start + Duration::from_micros(250 * event)))
            .collect();
        assert_eq!(lines, [1, 40_000, 40_000]);
        let later = start + Duration::from_secs(3600);
        assert_eq!(limit.record(later), Some(19_999 + 1));
    }

    #[test]
    fn an_event_after_ten_quiet_seconds_is_logged_at_once() {
        let (limit, start) = (LogLimit::new(), Instant::now());
        assert_eq!(limit.record(start), Some(1));
        assert_eq!(limit.record(start + INTERVAL), Some(1));
    }

    #[test]
    fn the_beginning_and_the_end_of_a_condition_are_logged_once() {
        let (edge, now) = (LogEdge::new(), Instant::now());
        assert!(!edge.end());
        assert!(edge.begin(now));
        assert!((1..100).all(|second| !edge.begin(now + Duration::from_secs(second))));
        assert!(edge.end() && !edge.end());
    }

    #[test]
    fn a_condition_that_flaps_is_logged_once_in_ten_seconds_and_not_lost() {
        let (edge, start) = (LogEdge::new(), Instant::now());
        assert!(edge.begin(start) && edge.end());
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!((1..10_000).all(|moment| !edge.begin(after(moment)) && !edge.end()));
        assert!(!edge.begin(after(9_999)) && edge.begin(after(10_000)) && edge.end());
    }
}
