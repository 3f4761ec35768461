//! Tracks the health of an instance.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use agentwire_transport::internal::Backoff;
use tokio::time::Instant;

/// The health of an instance, which is derived from the outcomes of connection attempts and calls.
///
/// A failed instance is ejected for a backoff period. After that period, a single attempt probes
/// the instance. For all other calls, the instance stays ejected until the probe ends. A successful
/// connection ends the ejection. The backoff period grows with each failure, and only an answer
/// resets the period.
#[derive(Debug)]
pub(super) struct Health {
    snapshot: Arc<HealthSnapshot>,
    backoff: Backoff,
    /// The time from which the instance may be probed, or `None` if the instance is not ejected. A
    /// failure sets this time, and a successful connection clears it.
    ejected_until: Option<Instant>,
    /// The number of connections that have ended without an answer since the last answer.
    disconnects: u32,
}

/// The outcome of an attempt to connect to or call an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A connection was opened.
    Connected,
    /// The instance answered.
    Answered,
    /// A connection ended without an answer.
    Disconnected,
    /// No connection could be opened, or the endpoint hosts a different agent.
    Failed,
    /// The connection attempt was cancelled before its outcome was known.
    Abandoned,
}

/// The effect of an outcome on later calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// The instance is ejected.
    Ejected,
    /// The instance has recovered or may be probed, so waiting calls should choose again.
    Available,
}

/// The part of the health that calls read without a lock. Only [`Health`] writes these values,
/// while its owner holds the lock.
///
/// All accesses are relaxed because the values are only advisory. If a call reads a stale value,
/// the worst result is a failed attempt or a shorter wait.
#[derive(Debug, Default)]
pub(super) struct HealthSnapshot {
    failures: AtomicU64,
    is_reached: AtomicBool,
    has_answered: AtomicBool,
}

/// The number of failures of an instance at the start of an attempt.
///
/// A failed attempt is counted only if the instance has not failed since the start of the attempt.
/// A failure that many calls notice is therefore counted only once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FailureEpoch(u64);

impl HealthSnapshot {
    pub(super) fn epoch(&self) -> FailureEpoch {
        FailureEpoch(self.failures.load(Relaxed))
    }

    /// Returns whether a connection has been opened since the last failure.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached.load(Relaxed)
    }

    /// Returns whether the instance has answered since its last failure or disconnect.
    pub(super) fn has_answered(&self) -> bool {
        self.has_answered.load(Relaxed)
    }
}

impl Health {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            snapshot: Arc::default(),
            backoff,
            ejected_until: None,
            disconnects: 0,
        }
    }

    pub(super) fn snapshot(&self) -> &Arc<HealthSnapshot> {
        &self.snapshot
    }

    /// Resets the health for a new process at the same endpoint. Failures of earlier attempts are
    /// no longer counted.
    pub(super) fn renew(&mut self) {
        self.begin_epoch();
        self.backoff.reset();
        self.ejected_until = None;
        self.disconnects = 0;
    }

    /// Returns whether the instance is not ejected.
    pub(super) fn is_well(&self) -> bool {
        self.ejected_until.is_none()
    }

    /// Returns whether the instance is ejected and may be probed.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.ejected_until.is_some_and(|until| until <= now)
    }

    /// Returns the time from which the instance may be probed, or `None` if the instance is not
    /// ejected.
    pub(super) fn ejected_until(&self) -> Option<Instant> {
        self.ejected_until
    }

    /// Marks the instance as being probed. The mark expires at the given time.
    pub(super) fn begin_probe(&mut self, until: Instant) {
        self.ejected_until = Some(until);
    }

    /// Applies the outcome of an attempt that began in `epoch`.
    pub(super) fn report(&mut self, epoch: FailureEpoch, outcome: Outcome, now: Instant) -> Change {
        match outcome {
            Outcome::Connected => self.connected(),
            Outcome::Answered => {
                self.backoff.reset();
                self.disconnects = 0;
                self.snapshot.has_answered.store(true, Relaxed);
                self.connected()
            }
            Outcome::Disconnected => {
                self.snapshot.has_answered.store(false, Relaxed);
                self.disconnects = self.disconnects.saturating_add(1);
                // A single disconnect may have been caused by the request.
                if self.disconnects > 1 {
                    self.failed(epoch, now)
                } else {
                    Change::None
                }
            }
            Outcome::Failed => self.failed(epoch, now),
            Outcome::Abandoned if !self.is_well() && self.snapshot.epoch() == epoch => {
                self.ejected_until = Some(now);
                Change::Available
            }
            Outcome::Abandoned => Change::None,
        }
    }

    fn connected(&mut self) -> Change {
        self.snapshot.is_reached.store(true, Relaxed);
        match self.ejected_until.take() {
            Some(_) => Change::Available,
            None => Change::None,
        }
    }

    fn failed(&mut self, epoch: FailureEpoch, now: Instant) -> Change {
        if self.snapshot.epoch() != epoch {
            return Change::None;
        }
        self.begin_epoch();
        self.ejected_until = Some(now + self.backoff.next_delay());
        Change::Ejected
    }

    fn begin_epoch(&self) {
        self.snapshot.failures.fetch_add(1, Relaxed);
        self.snapshot.is_reached.store(false, Relaxed);
        self.snapshot.has_answered.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome::*, *};

    const FIRST: Duration = Duration::from_millis(100);

    fn health() -> Health {
        Health::new(Backoff::new(FIRST, Duration::from_secs(1)))
    }

    /// Reports the outcome of an attempt that starts now.
    fn report(health: &mut Health, outcome: Outcome, now: Instant) -> Change {
        health.report(health.snapshot().epoch(), outcome, now)
    }

    #[test]
    fn a_failure_ejects_an_instance_for_the_backoff() {
        let (mut health, now) = (health(), Instant::now());
        assert!(health.is_well() && !health.is_due(now));
        assert_eq!(report(&mut health, Failed, now), Change::Ejected);
        assert!(!health.is_well() && !health.is_due(now));
        assert!(!health.is_due(now + FIRST.mul_f64(0.49)));
        assert!(health.is_due(now + FIRST));
    }

    #[test]
    fn failures_of_attempts_that_began_before_the_first_count_as_one() {
        let (mut health, now) = (health(), Instant::now());
        let epoch = health.snapshot().epoch();
        assert_eq!(health.report(epoch, Failed, now), Change::Ejected);
        // Failures of earlier attempts are never counted.
        for late in 0..50 {
            let late = now + FIRST * late;
            assert_eq!(health.report(epoch, Failed, late), Change::None);
        }
        assert!(health.is_due(now + FIRST));
    }

    #[test]
    fn each_failure_ejects_an_instance_for_longer_until_it_answers() {
        let (mut health, mut now) = (health(), Instant::now());
        for millis in [100, 200, 400, 800, 1000, 1000] {
            assert_eq!(report(&mut health, Failed, now), Change::Ejected);
            let ejected = health.ejected_until().unwrap() - now;
            let full = Duration::from_millis(millis);
            assert!(
                ejected <= full && ejected >= full / 2,
                "{ejected:?} of {full:?}"
            );
            now += full;
            // A connection does not count as an answer.
            assert_eq!(report(&mut health, Connected, now), Change::Available);
            assert!(health.is_well());
        }
        report(&mut health, Failed, now);
        assert_eq!(report(&mut health, Answered, now), Change::Available);
        assert_eq!(report(&mut health, Answered, now), Change::None);
        report(&mut health, Failed, now);
        assert!(health.is_due(now + FIRST));
    }

    #[test]
    fn only_one_probe_runs_at_a_time() {
        let (mut health, now) = (health(), Instant::now());
        report(&mut health, Failed, now);
        let now = now + FIRST;
        health.begin_probe(now + Duration::from_secs(3));
        assert!(!health.is_due(now + Duration::from_secs(2)));
        assert!(health.is_due(now + Duration::from_secs(3)), "it was lost");
        // After a cancelled probe, the next probe may start.
        assert_eq!(report(&mut health, Abandoned, now), Change::Available);
        assert!(health.is_due(now));
        // A probe that began before the last failure has no effect.
        let epoch = health.snapshot().epoch();
        report(&mut health, Failed, now);
        assert_eq!(health.report(epoch, Abandoned, now), Change::None);
        assert!(!health.is_due(now));
    }

    #[test]
    fn consecutive_disconnects_eject_an_instance() {
        let (mut health, now) = (health(), Instant::now());
        for _ in 0..3 {
            let first = report(&mut health, Disconnected, now);
            assert_eq!(first, Change::None, "the request may be the cause");
            assert!(!health.snapshot().has_answered());
            report(&mut health, Answered, now);
        }
        let epoch = health.snapshot().epoch();
        assert_eq!(health.report(epoch, Disconnected, now), Change::None);
        assert_eq!(health.report(epoch, Disconnected, now), Change::Ejected);
        assert_eq!(health.report(epoch, Disconnected, now), Change::None);
        // Until the instance answers, each further disconnect ejects the instance.
        report(&mut health, Connected, now);
        assert_eq!(report(&mut health, Disconnected, now), Change::Ejected);
    }
}
