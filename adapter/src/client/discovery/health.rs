use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use agentwire_transport::internal::Backoff;
use tokio::time::Instant;

/// Whether an instance is to be called, as its connections and its answers tell.
///
/// One that fails is out for a while, and for longer each time, until it answers. When that is over it is on trial:
/// one attempt is made to reach it, and it is out for all others until that has ended. A connection brings it back;
/// only an answer makes its failures forgotten.
#[derive(Debug)]
pub(super) struct Health {
    record: Arc<Record>,
    backoff: Backoff,
    /// Set by a failure until it is reached.
    out_until: Option<Instant>,
    /// How many connections to it have ended before an answer, since it answered last.
    breaks: u32,
}

/// What those at an instance see of its health, without a lock. Only [`Health`] writes it.
#[derive(Debug, Default)]
pub(super) struct Record {
    failures: AtomicU64,
    is_reached: AtomicBool,
    is_proved: AtomicBool,
}

/// How often an instance had failed when somebody set out for it. What comes of that counts only if it has not failed
/// since: many find out at once, and count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Since(u64);

impl Record {
    pub(super) fn now(&self) -> Since {
        Since(self.failures.load(Relaxed))
    }

    /// A connection to it has been made since it failed last.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.load(Relaxed)
    }

    /// It has answered since anything went wrong last.
    pub(super) fn is_proved(&self) -> bool {
        self.is_proved.load(Relaxed)
    }
}

impl Health {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            record: Arc::default(),
            backoff,
            out_until: None,
            breaks: 0,
        }
    }

    pub(super) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Somebody new is there. What becomes of those who set out for the old one says nothing of the new.
    pub(super) fn renew(&mut self) {
        self.record.failures.fetch_add(1, Relaxed);
        self.record.is_reached.store(false, Relaxed);
        self.record.is_proved.store(false, Relaxed);
        self.backoff.reset();
        self.out_until = None;
        self.breaks = 0;
    }

    /// Nothing is wrong with it, as far as is known.
    pub(super) fn is_well(&self) -> bool {
        self.out_until.is_none()
    }

    /// It has failed, and somebody may try whether it is back.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.out_until.is_some_and(|until| until <= now)
    }

    /// When it may be tried again; `None` if nothing is wrong with it.
    pub(super) fn out_until(&self) -> Option<Instant> {
        self.out_until
    }

    /// Somebody tries whether it is back, which takes until then at most.
    pub(super) fn begin_trial(&mut self, until: Instant) {
        self.out_until = Some(until);
    }

    /// A trial ended without an outcome. Somebody else may try.
    pub(super) fn give_up(&mut self, since: Since, now: Instant) {
        if self.out_until.is_some() && self.record.now() == since {
            self.out_until = Some(now);
        }
    }

    /// It could not be reached, or is no good. True if that is news.
    pub(super) fn failed(&mut self, since: Since, now: Instant) -> bool {
        let is_news = self.record.now() == since;
        if is_news {
            self.record.failures.fetch_add(1, Relaxed);
            self.record.is_reached.store(false, Relaxed);
            self.record.is_proved.store(false, Relaxed);
            self.out_until = Some(now + self.backoff.next_delay());
        }
        is_news
    }

    /// A connection ended before an answer. The first time, the request may be to blame. True if it is out for that.
    pub(super) fn broke(&mut self, since: Since, now: Instant) -> bool {
        self.record.is_proved.store(false, Relaxed);
        self.breaks = self.breaks.saturating_add(1);
        self.breaks > 1 && self.failed(since, now)
    }

    /// A connection to it has been made. True if it is back.
    pub(super) fn reached(&mut self) -> bool {
        self.record.is_reached.store(true, Relaxed);
        self.out_until.take().is_some()
    }

    /// It answered. True if it is back.
    pub(super) fn proved(&mut self) -> bool {
        self.backoff.reset();
        self.breaks = 0;
        self.record.is_proved.store(true, Relaxed);
        self.reached()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FIRST: Duration = Duration::from_millis(100);

    fn health() -> Health {
        Health::new(Backoff::new(FIRST, Duration::from_secs(1)))
    }

    fn fail(health: &mut Health, now: Instant) -> bool {
        health.failed(health.record().now(), now)
    }

    #[test]
    fn a_failure_takes_it_out_for_a_while() {
        let (mut health, now) = (health(), Instant::now());
        assert!(health.is_well() && !health.is_due(now));
        assert!(fail(&mut health, now));
        assert!(!health.is_well() && !health.is_due(now));
        assert!(!health.is_due(now + FIRST.mul_f64(0.49)));
        assert!(health.is_due(now + FIRST));
    }

    #[test]
    fn failures_of_those_who_set_out_before_the_first_count_as_one() {
        let (mut health, now) = (health(), Instant::now());
        let since = health.record().now();
        assert!(health.failed(since, now));
        // However late they find out.
        for late in 0..50 {
            assert!(!health.failed(since, now + FIRST * late));
        }
        assert!(health.is_due(now + FIRST));
    }

    #[test]
    fn each_failure_takes_it_out_for_longer_until_it_answers() {
        let (mut health, mut now) = (health(), Instant::now());
        for millis in [100, 200, 400, 800, 1000, 1000] {
            assert!(fail(&mut health, now));
            let out = health.out_until().unwrap() - now;
            let full = Duration::from_millis(millis);
            assert!(out <= full && out >= full / 2, "{out:?} of {full:?}");
            now += full;
            // That a connection can be made is no answer.
            assert!(health.reached() && health.is_well());
        }
        fail(&mut health, now);
        assert!(health.proved());
        assert!(!health.proved(), "that is no news");
        fail(&mut health, now);
        assert!(health.is_due(now + FIRST));
    }

    #[test]
    fn a_trial_is_one_at_a_time() {
        let (mut health, now) = (health(), Instant::now());
        fail(&mut health, now);
        let now = now + FIRST;
        health.begin_trial(now + Duration::from_secs(3));
        assert!(!health.is_due(now + Duration::from_secs(2)));
        assert!(
            health.is_due(now + Duration::from_secs(3)),
            "it was forgotten"
        );
        // One that was given up makes room for the next.
        health.give_up(health.record().now(), now);
        assert!(health.is_due(now));
        // One from before the last failure says nothing.
        let since = health.record().now();
        fail(&mut health, now);
        health.give_up(since, now);
        assert!(!health.is_due(now));
    }

    #[test]
    fn connections_that_end_without_an_answer_in_between_take_it_out() {
        let (mut health, now) = (health(), Instant::now());
        for _ in 0..3 {
            let since = health.record().now();
            assert!(!health.broke(since, now), "the request may be to blame");
            assert!(!health.record().is_proved());
            health.proved();
        }
        let since = health.record().now();
        assert!(!health.broke(since, now));
        assert!(health.broke(since, now));
        assert!(!health.broke(since, now), "that is no news");
        // Until it answers, one is enough.
        health.reached();
        assert!(health.broke(health.record().now(), now));
    }
}
