use std::time::Duration;

use agentwire_transport::internal::{Backoff, MAX_TIMEOUT, jittered};
use tokio::time::Instant;

use crate::{Lease, RegistryError};

/// What to do next to stay registered. It is told the time and what became of the last step, and does no I/O.
#[derive(Debug)]
pub(super) struct Schedule {
    /// What the registry said; `None` before it did.
    lease: Option<Lease>,
    /// Until when the registry keeps the registration, if it hears nothing more.
    held_until: Option<Instant>,
    /// How often to be heard, unless the lease says.
    interval: Option<Duration>,
    /// The waits after failures.
    retry: Backoff,
    step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Register,
    Heartbeat,
}

/// What comes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next step, after so long.
    After(Duration, Step),
    /// There is no sense in going on.
    Never,
}

/// The first wait after a failure. They double, up to the interval.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The shortest wait of any kind, whatever a registry says.
const SHORTEST: Duration = Duration::from_millis(1);

/// While a lease is held, a step may take this part of it, and the wait after a failure another. The first heartbeat
/// comes after a third: 1/3 + 2 * (1/6 + 1/12) = 5/6, so that the third comes in time if the first two are lost.
const STEPS_PER_LEASE: u32 = 6;
const RETRIES_PER_LEASE: u32 = 12;

/// By how much the wait for a heartbeat is shortened at random, at most. Agents that were started together do not all
/// come at once.
const HEARTBEAT_SPREAD: f64 = 0.1;

impl Schedule {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self {
            lease: None,
            held_until: None,
            interval,
            retry: Backoff::new(FIRST_RETRY, MAX_TIMEOUT),
            step: Step::Register,
        }
    }

    pub(super) fn step(&self) -> Step {
        self.step
    }

    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// How long the next step may take: no longer than `longest`.
    pub(super) fn limit(&self, longest: Duration, now: Instant) -> Duration {
        let lease = self.held_lease(now);
        lease.map_or(longest, |lease| longest.min(lease / STEPS_PER_LEASE))
    }

    /// Checks the first lease. What is set here and what the registry does later may differ; it then goes on as the
    /// lease wants it.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`], if it would be over before the first heartbeat.
    pub(super) fn check(&self, lease: Lease) -> Result<(), RegistryError> {
        let too_long = |interval| interval >= lease.timeout();
        if self.lease.is_none() && self.interval.is_some_and(too_long) {
            return Err(RegistryError::InvalidSetting {
                setting: "interval",
                problem: "must be shorter than the lease of the registry",
            });
        }
        Ok(())
    }

    /// The step that began then went well. A registration tells the lease.
    pub(super) fn succeeded(&mut self, lease: Option<Lease>, began: Instant, now: Instant) -> Next {
        if let Some(lease) = lease {
            self.lease = Some(Lease::new(lease.timeout().min(MAX_TIMEOUT)));
        }
        // The registry counts from when it was asked, which is not known here, but was not before.
        self.held_until = Some(began + self.lease().timeout());
        self.retry.reset();
        self.step = Step::Heartbeat;
        let wait = jittered(self.interval(), HEARTBEAT_SPREAD);
        let wait = wait.saturating_sub(now.saturating_duration_since(began));
        Next::After(wait.max(SHORTEST), self.step)
    }

    /// The step failed.
    pub(super) fn failed(&mut self, error: &RegistryError, now: Instant) -> Next {
        if error.is_not_registered() && self.step == Step::Heartbeat {
            // Forgotten. At once, but only once: what comes after is the failure of a registration.
            self.step = Step::Register;
            self.held_until = None;
            return Next::After(Duration::ZERO, self.step);
        }
        // What was taken once is right. Whoever refuses it now may be another for a while, at the same address.
        let is_wrong = self.lease.is_none() && !error.is_retryable();
        if is_wrong || matches!(error, RegistryError::Replaced { .. }) {
            return Next::Never;
        }
        let mut longest = self.interval();
        if let Some(lease) = self.held_lease(now) {
            longest = longest.min(lease / RETRIES_PER_LEASE);
        }
        Next::After(
            self.retry.next_delay_within(longest).max(SHORTEST),
            self.step,
        )
    }

    fn lease(&self) -> Lease {
        self.lease.unwrap_or_default()
    }

    /// How long the lease is, if it is not over.
    fn held_lease(&self, now: Instant) -> Option<Duration> {
        let is_held = self.held_until.is_some_and(|until| now < until);
        is_held.then(|| self.lease().timeout())
    }

    fn interval(&self) -> Duration {
        let lease = self.lease();
        let told = self.interval.filter(|told| *told < lease.timeout());
        told.unwrap_or(lease.heartbeat_interval()).max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use agentwire_codec::WireError;

    use super::*;

    /// Checks that a wait is so many seconds, or shorter by no more than it may be.
    fn assert_next(next: Next, seconds: f64, step: Step, spread: f64) {
        match next {
            Next::After(wait, next) => {
                let wait = wait.as_secs_f64();
                let range = seconds * (1.0 - spread) - 1e-6..=seconds + 1e-6;
                assert!(range.contains(&wait), "{wait} is not in {range:?}");
                assert_eq!(next, step);
            }
            Next::Never => panic!("it has ended"),
        }
    }

    #[track_caller]
    fn assert_beat(next: Next, seconds: f64) {
        assert_next(next, seconds, Step::Heartbeat, HEARTBEAT_SPREAD);
    }

    fn lease(seconds: u64) -> Option<Lease> {
        Some(Lease::new(Duration::from_secs(seconds)))
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn forgotten() -> RegistryError {
        RegistryError::NotRegistered {
            name: "weather".to_owned(),
            endpoint: None,
        }
    }

    fn replaced() -> RegistryError {
        RegistryError::Replaced {
            name: "weather".to_owned(),
            endpoint: "tcp://host:80".parse().unwrap(),
        }
    }

    fn unreachable() -> RegistryError {
        RegistryError::Remote(WireError::new("AGENT_UNAVAILABLE", "later"))
    }

    fn not_a_registry() -> RegistryError {
        RegistryError::NotARegistry {
            registry: "tcp://host:80".to_owned(),
            error: Box::new(WireError::new("NOT_IMPLEMENTED", "what?")),
        }
    }

    #[test]
    fn it_is_heard_as_often_as_the_lease_wants_unless_it_is_told() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        assert_beat(schedule.succeeded(lease(15), now, now), 5.0);
        assert_beat(schedule.succeeded(None, now, now), 5.0);
        let mut told = Schedule::new(Some(Duration::from_secs(2)));
        assert_beat(told.succeeded(lease(15), now, now), 2.0);
        // The registry began anew with a shorter lease.
        assert_beat(told.succeeded(lease(1), now, now), 1.0 / 3.0);
        let mut greedy = Schedule::new(Some(Duration::ZERO));
        assert_eq!(
            greedy.succeeded(None, now, now),
            Next::After(SHORTEST, Step::Heartbeat)
        );
    }

    #[test]
    fn an_interval_that_no_lease_outlives_is_refused_at_first_only() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Some(Duration::from_secs(90)));
        assert!(schedule.check(Lease::default()).is_err());
        schedule.check(lease(91).unwrap()).unwrap();
        schedule.succeeded(lease(91), now, now);
        schedule.check(Lease::default()).unwrap();
    }

    #[test]
    fn what_an_answer_took_is_counted_in() {
        let began = Instant::now();
        let mut schedule = Schedule::new(None);
        let next = schedule.succeeded(lease(90), began, began + seconds(20.0));
        assert_next(next, 10.0, Step::Heartbeat, 0.3);
        assert_eq!(schedule.held_until(), Some(began + seconds(90.0)));
        let next = schedule.succeeded(None, began, began + seconds(60.0));
        assert_eq!(next, Next::After(SHORTEST, Step::Heartbeat));
    }

    #[test]
    fn no_lease_is_too_long() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        schedule.succeeded(Some(Lease::new(Duration::MAX)), now, now);
        assert_eq!(schedule.held_until(), Some(now + MAX_TIMEOUT));
    }

    #[test]
    fn after_failures_it_waits_longer_up_to_the_interval_and_starts_over() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        for expected in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let next = schedule.failed(&unreachable(), now);
            assert_next(next, expected, Step::Register, Backoff::JITTER);
        }
        // While the lease is held, it waits for less of it; once that is over there is no hurry.
        for _ in 0..2 {
            schedule.succeeded(lease(90), now, now);
            for (after, expected) in [(30.0, 0.25), (60.0, 0.5), (89.0, 1.0), (90.0, 2.0)] {
                let next = schedule.failed(&unreachable(), now + seconds(after));
                assert_next(next, expected, Step::Heartbeat, Backoff::JITTER);
            }
        }
        schedule.succeeded(lease(6), now, now);
        for (after, expected) in [(2.0, 0.25), (3.0, 0.5), (4.0, 0.5), (6.0, 1.0)] {
            let next = schedule.failed(&unreachable(), now + seconds(after));
            assert_next(next, expected, Step::Heartbeat, Backoff::JITTER);
        }
    }

    #[test]
    fn two_heartbeats_may_be_lost_in_silence() {
        let longest = Duration::from_secs(30);
        for timeout in [1, 15, 90, 3600] {
            let start = Instant::now();
            let mut schedule = Schedule::new(None);
            assert_eq!(schedule.limit(longest, start), longest);
            let mut next = schedule.succeeded(lease(timeout), start, start);
            let mut now = start;
            for _ in 0..2 {
                let Next::After(wait, _) = next else {
                    panic!("{next:?}");
                };
                now += wait;
                now += schedule.limit(longest, now);
                next = schedule.failed(&unreachable(), now);
            }
            let Next::After(wait, _) = next else {
                panic!("{next:?}");
            };
            now += wait;
            let left = schedule.limit(longest, now);
            assert!(now + left <= start + seconds(timeout as f64), "{timeout}");
        }
    }

    #[test]
    fn agents_that_began_together_do_not_stay_together() {
        let now = Instant::now();
        let waits = |mut next: Box<dyn FnMut() -> Next>| {
            let mut waits: Vec<_> = (0..100).map(|_| format!("{:?}", next())).collect();
            waits.sort();
            waits.dedup();
            waits.len()
        };
        let beat = move || Schedule::new(None).succeeded(None, now, now);
        let retry = move || Schedule::new(None).failed(&unreachable(), now);
        assert!(waits(Box::new(beat)) > 50 && waits(Box::new(retry)) > 50);
    }

    #[test]
    fn one_that_was_forgotten_registers_at_once_and_then_with_waits() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        schedule.succeeded(lease(90), now, now);
        let next = schedule.failed(&forgotten(), now);
        assert_eq!(next, Next::After(Duration::ZERO, Step::Register));
        assert_eq!(schedule.held_until(), None);
        let next = schedule.failed(&forgotten(), now);
        assert_next(next, 0.25, Step::Register, Backoff::JITTER);
    }

    #[test]
    fn what_waiting_does_not_mend_ends_it_unless_it_went_well_before() {
        let now = Instant::now();
        let no_name = || crate::check_name("").unwrap_err();
        for error in [replaced(), no_name(), not_a_registry()] {
            assert_eq!(
                Schedule::new(None).failed(&error, now),
                Next::Never,
                "{error}"
            );
        }
        let mut schedule = Schedule::new(None);
        schedule.succeeded(lease(90), now, now);
        for error in [no_name(), not_a_registry()] {
            assert_ne!(schedule.failed(&error, now), Next::Never, "{error}");
        }
        assert_eq!(schedule.failed(&replaced(), now), Next::Never);
    }
}
