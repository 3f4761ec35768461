//! Tracks the health of an instance.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire_transport::internal::Backoff;
use tokio::time::Instant;

/// The health of an instance, which is derived from the outcomes of connection attempts and calls.
///
/// A failed instance is ejected for a backoff period. After that period, a single attempt probes
/// the instance. For all other calls, the instance stays ejected until the probe ends. A successful
/// connection ends the ejection. The backoff period grows with each failure, and only an answer
/// resets the period.
///
/// An instance that accepts requests but does not answer is suspended: until it answers, only one
/// trial call per interval uses the instance. A connection does not end the suspension.
#[derive(Debug)]
pub(super) struct Health {
    snapshot: Arc<HealthSnapshot>,
    backoff: Backoff,
    /// The time from which the instance may be probed, or `None` if the instance is not ejected. A
    /// failure sets this time, and a successful connection clears it.
    ejected_until: Option<Instant>,
    /// The number of connections that have ended without an answer since the last answer.
    disconnects: u32,
    /// The number of calls that have timed out since the last answer.
    timeouts: u32,
    /// The time of the next trial call, or `None` if the instance is not suspended.
    next_trial: Option<Instant>,
    trial_backoff: Backoff,
    failure_load: FailureLoad,
}

/// The outcome of an attempt to connect to or call an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A connection was opened.
    Connected,
    /// The instance answered.
    Answered,
    /// The instance answered with an error.
    AnsweredError,
    /// A sent request was not answered within the timeout of the call.
    TimedOut,
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
            timeouts: 0,
            next_trial: None,
            trial_backoff: Backoff::new(MIN_TRIAL_INTERVAL, MAX_TRIAL_INTERVAL),
            failure_load: FailureLoad::default(),
        }
    }

    pub(super) fn snapshot(&self) -> &Arc<HealthSnapshot> {
        &self.snapshot
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
                let is_well = self.failure_load.halve(now);
                self.answered(is_well)
            }
            Outcome::AnsweredError => {
                self.failure_load.add(now);
                self.answered(false)
            }
            Outcome::TimedOut => {
                self.snapshot.has_answered.store(false, Relaxed);
                if self.snapshot.epoch() == epoch {
                    self.timeouts = self.timeouts.saturating_add(1);
                }
                Change::None
            }
            Outcome::Disconnected => {
                self.failure_load.add(now);
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

    /// Returns whether so many consecutive calls have timed out that the instance should be
    /// suspended.
    pub(super) fn is_stalled(&self) -> bool {
        self.timeouts >= MAX_TIMEOUTS
    }

    /// Returns whether the instance is suspended, because it accepts calls but does not answer.
    pub(super) fn is_suspended(&self) -> bool {
        self.next_trial.is_some()
    }

    /// Returns whether the instance is suspended and a trial call is due.
    pub(super) fn is_trial_due(&self, now: Instant) -> bool {
        self.next_trial.is_some_and(|at| at <= now)
    }

    /// Suspends the instance until it answers. Only trial calls use the instance. Calls that wait
    /// for a connection to the instance move to another one.
    pub(super) fn suspend(&mut self, now: Instant) {
        self.begin_epoch();
        self.next_trial = Some(now + self.trial_backoff.next_delay());
    }

    /// Begins a trial call. The next trial is due after an interval, whatever the outcome.
    pub(super) fn begin_trial(&mut self, now: Instant) {
        self.next_trial = Some(now + self.trial_backoff.next_delay());
    }

    /// Returns the load that recent failures add to the calls in flight.
    pub(super) fn failure_load(&self, now: Instant) -> usize {
        self.failure_load.at(now)
    }

    /// Makes the next answer be reported, although the instance has answered before.
    pub(super) fn expect_answer(&mut self) {
        self.snapshot.has_answered.store(false, Relaxed);
    }

    fn answered(&mut self, is_well: bool) -> Change {
        self.backoff.reset();
        self.disconnects = 0;
        self.timeouts = 0;
        self.trial_backoff.reset();
        self.snapshot.has_answered.store(is_well, Relaxed);
        let was_suspended = self.next_trial.take().is_some();
        match self.connected() {
            Change::None if was_suspended => Change::Available,
            change => change,
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

/// The load that the failures of an instance add to its calls in flight.
///
/// An instance that fails at once has few calls in flight, and would otherwise attract calls. Each
/// failure counts like a call in flight, and its weight halves every second.
#[derive(Debug, Default)]
struct FailureLoad {
    load: f32,
    since: Option<Instant>,
}

impl FailureLoad {
    fn add(&mut self, now: Instant) {
        self.set((self.decayed(now) + 1.0).min(MAX_FAILURE_LOAD), now);
    }

    /// Halves the load after a success. Returns whether less than one failure is left.
    fn halve(&mut self, now: Instant) -> bool {
        self.set(self.decayed(now) / 2.0, now);
        self.load < 1.0
    }

    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the load is between zero and a small maximum"
    )]
    fn at(&self, now: Instant) -> usize {
        self.decayed(now).round() as usize
    }

    fn decayed(&self, now: Instant) -> f32 {
        match self.since {
            Some(since) if self.load > 0.0 => {
                let age = now.saturating_duration_since(since);
                self.load * (-age.as_secs_f32()).exp2()
            }
            _ => 0.0,
        }
    }

    fn set(&mut self, load: f32, now: Instant) {
        self.load = load;
        self.since = Some(now);
    }
}

/// The number of consecutive timeouts after which an instance is suspended.
const MAX_TIMEOUTS: u32 = 5;

/// The intervals between the trial calls to a suspended instance. They grow with each trial that is
/// not answered.
const MIN_TRIAL_INTERVAL: Duration = Duration::from_secs(5);
const MAX_TRIAL_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum load that failures add, so that an instance that recovers is soon called again.
const MAX_FAILURE_LOAD: f32 = 64.0;

#[cfg(test)]
mod tests {
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

    #[test]
    fn consecutive_timeouts_stall_an_instance_and_an_answer_ends_that() {
        let (mut health, now) = (health(), Instant::now());
        for _ in 0..2 {
            for _ in 1..MAX_TIMEOUTS {
                assert_eq!(report(&mut health, TimedOut, now), Change::None);
                assert!(!health.is_stalled() && !health.snapshot().has_answered());
            }
            report(&mut health, Answered, now);
        }
        for _ in 0..MAX_TIMEOUTS {
            report(&mut health, TimedOut, now);
        }
        assert!(health.is_stalled() && health.is_well());
        let epoch = health.snapshot().epoch();
        health.suspend(now);
        assert_ne!(health.snapshot().epoch(), epoch, "waiting calls move on");
        // A connection proves nothing about an instance that does not answer.
        assert_eq!(report(&mut health, Connected, now), Change::None);
        assert!(health.is_suspended() && !health.is_trial_due(now));
        let later = now + MIN_TRIAL_INTERVAL;
        assert!(health.is_trial_due(later));
        health.begin_trial(later);
        assert!(!health.is_trial_due(later));
        assert_eq!(report(&mut health, Answered, later), Change::Available);
        assert!(!health.is_suspended() && !health.is_stalled());
    }

    #[test]
    fn a_failure_is_a_load_that_halves_every_second() {
        let (mut health, now) = (health(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(health.failure_load(now), 0);
        for _ in 0..8 {
            assert_eq!(report(&mut health, AnsweredError, now), Change::None);
        }
        for (age, load) in [(0, 8), (1, 4), (2, 2), (3, 1), (5, 0)] {
            assert_eq!(health.failure_load(now + second * age), load);
        }
        report(&mut health, Answered, now);
        assert_eq!(health.failure_load(now), 4);
        assert!(!health.snapshot().has_answered(), "the next answer counts");
        for _ in 0..3 {
            report(&mut health, Answered, now);
        }
        assert!(health.snapshot().has_answered());
        for _ in 0..1000 {
            report(&mut health, AnsweredError, now);
        }
        assert_eq!(health.failure_load(now), 64);
    }
}
