use tokio::time::Instant;

use crate::backoff::Backoff;

/// Whether an instance is to be called, as its connections tell.
///
/// One that cannot be reached is out for a while, and for longer each time. When that is over, a single call
/// tries it; the others leave it alone until it has proved itself or the next wait is over.
#[derive(Debug)]
pub(super) struct Health {
    backoff: Backoff,
    /// Set from the first failure until it has proved itself.
    out_until: Option<Instant>,
}

impl Health {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            out_until: None,
        }
    }

    pub(super) fn is_available(&self, now: Instant) -> bool {
        self.out_until.is_none_or(|until| until <= now)
    }

    /// It has failed and not proved itself since.
    pub(super) fn is_suspect(&self) -> bool {
        self.out_until.is_some()
    }

    /// When it may be tried again; `None` if nothing is wrong with it.
    pub(super) fn out_until(&self) -> Option<Instant> {
        self.out_until
    }

    /// A call goes to it. If it is suspect, it is out for all others meanwhile.
    pub(super) fn begin_call(&mut self, now: Instant) {
        if self.is_suspect() {
            self.out_until = Some(now + self.backoff.next());
        }
    }

    /// It could not be reached. Many calls may find out at once, and count as one.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.is_available(now) {
            self.out_until = Some(now + self.backoff.next());
        }
    }

    /// It was reached. True if that is news.
    pub(super) fn proved(&mut self) -> bool {
        self.backoff.reset();
        self.out_until.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn health() -> Health {
        Health::new(Backoff::new(
            Duration::from_millis(100),
            Duration::from_secs(1),
        ))
    }

    #[test]
    fn a_failure_takes_it_out_for_a_while() {
        let (mut health, now) = (health(), Instant::now());
        assert!(health.is_available(now) && !health.is_suspect());
        health.failed(now);
        assert!(!health.is_available(now) && health.is_suspect());
        assert!(!health.is_available(now + Duration::from_millis(49)));
        assert!(health.is_available(now + Duration::from_millis(100)));
    }

    #[test]
    fn failures_that_many_calls_find_at_once_count_as_one() {
        let (mut health, now) = (health(), Instant::now());
        for _ in 0..50 {
            health.failed(now);
        }
        assert!(health.is_available(now + Duration::from_millis(100)));
    }

    #[test]
    fn each_failure_takes_it_out_for_longer() {
        let (mut health, mut now) = (health(), Instant::now());
        for millis in [100, 200, 400, 800, 1000, 1000] {
            health.failed(now);
            let out = health.out_until().unwrap() - now;
            let full = Duration::from_millis(millis);
            assert!(out <= full && out >= full / 2, "{out:?} of {full:?}");
            now += full;
        }
        assert!(health.proved());
        health.failed(now);
        assert!(health.is_available(now + Duration::from_millis(100)));
    }

    #[test]
    fn a_single_call_tries_whether_it_is_back() {
        let (mut health, now) = (health(), Instant::now());
        health.failed(now);
        let now = now + Duration::from_millis(100);
        assert!(health.is_available(now));
        health.begin_call(now);
        assert!(!health.is_available(now));
        assert!(health.proved(), "that is news");
        assert!(health.is_available(now) && !health.is_suspect());
        assert!(!health.proved(), "that is none");
    }

    #[test]
    fn a_call_to_one_that_is_well_changes_nothing() {
        let (mut health, now) = (health(), Instant::now());
        health.begin_call(now);
        assert!(health.is_available(now) && !health.is_suspect());
    }
}
