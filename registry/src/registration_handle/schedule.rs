//! The schedule of registrations and heartbeats. This module does not perform I/O.

use std::time::Duration;

use agentwire_transport::internal::{Backoff, MAX_TIMEOUT, jittered};
use tokio::time::Instant;

use crate::{Lease, RegistryError};

/// A schedule that decides when to register and when to send heartbeats. The caller passes the
/// current time and the outcome of each action as arguments.
#[derive(Debug)]
pub(super) struct Schedule {
    /// The lease that the registry returned, or `None` before the first registration.
    lease: Option<Lease>,
    /// The time at which the lease expires if it is not renewed.
    held_until: Option<Instant>,
    /// The configured heartbeat interval, or `None` to derive the interval from the lease.
    interval: Option<Duration>,
    /// The delays after failures.
    retry: Backoff,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Register,
    Heartbeat,
}

/// The step that follows an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for the given time, and then perform the action.
    After(Duration, Action),
    /// Stop, because a retry cannot succeed.
    GiveUp,
}

impl Schedule {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self {
            lease: None,
            held_until: None,
            interval,
            retry: Backoff::new(FIRST_RETRY, MAX_TIMEOUT),
            action: Action::Register,
        }
    }

    pub(super) fn action(&self) -> Action {
        self.action
    }

    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Returns the timeout of the next action, which is at most `longest`.
    pub(super) fn attempt_limit(&self, longest: Duration, now: Instant) -> Duration {
        let lease = self.held_lease(now);
        lease.map_or(longest, |lease| longest.min(lease / ATTEMPTS_PER_LEASE))
    }

    /// Checks that the configured interval is shorter than the first lease. If a later lease is
    /// shorter than the interval, the interval is derived from the lease.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if the lease would expire before the first
    /// heartbeat.
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

    /// Records the success of an action that started at `started`. `lease` is the lease of a
    /// registration, or `None` after a heartbeat.
    pub(super) fn succeeded(
        &mut self,
        lease: Option<Lease>,
        started: Instant,
        now: Instant,
    ) -> Next {
        if let Some(lease) = lease {
            self.lease = Some(Lease::new(lease.timeout().min(MAX_TIMEOUT)));
        }
        // The lease starts when the registry processes the request, which happens after `started`.
        self.held_until = Some(started + self.lease().timeout());
        self.retry.reset();
        self.action = Action::Heartbeat;
        let wait = jittered(self.interval(), HEARTBEAT_JITTER);
        let wait = wait.saturating_sub(now.saturating_duration_since(started));
        Next::After(wait.max(MIN_WAIT), self.action)
    }

    /// Records a failure.
    pub(super) fn failed(&mut self, error: &RegistryError, now: Instant) -> Next {
        let held_by_other = match error {
            RegistryError::Owned { retry_after, .. } => Some(*retry_after),
            RegistryError::Replaced { .. } => Some(Duration::ZERO),
            _ => None,
        };
        let is_lost = error.is_not_registered() || held_by_other.is_some();
        if is_lost && self.action == Action::Heartbeat {
            // Register again without a delay. If registering also fails, the retry is delayed.
            self.action = Action::Register;
            self.held_until = None;
            return Next::After(Duration::ZERO, self.action);
        }
        // A registration that was accepted before is valid. If the registration is refused later, a
        // different server may temporarily have the address of the registry.
        let is_permanent = self.lease.is_none() && !error.is_retryable();
        if is_permanent {
            return Next::GiveUp;
        }
        if let Some(protected_for) = held_by_other {
            return Next::After(self.wait_for_other(protected_for), self.action);
        }
        let mut longest = self.interval();
        if let Some(lease) = self.held_lease(now) {
            longest = longest.min(lease / RETRIES_PER_LEASE);
        }
        Next::After(
            self.retry.next_delay_within(longest).max(MIN_WAIT),
            self.action,
        )
    }

    /// Returns the delay before the next attempt to register while another instance is registered.
    /// The delay ends when the other instance can be replaced. The other instance may also
    /// unregister earlier, so the delay is limited to about one heartbeat interval.
    fn wait_for_other(&self, protected_for: Duration) -> Duration {
        let interval = self.interval();
        let wait = protected_for.max(FIRST_RETRY).min(interval);
        wait + jittered(wait / 10, 1.0)
    }

    /// Returns whether the agent has ever been registered.
    pub(super) fn has_registered(&self) -> bool {
        self.lease.is_some()
    }

    fn lease(&self) -> Lease {
        self.lease.unwrap_or_default()
    }

    /// Returns the duration of the lease if the lease has not expired.
    fn held_lease(&self, now: Instant) -> Option<Duration> {
        let is_held = self.held_until.is_some_and(|until| now < until);
        is_held.then(|| self.lease().timeout())
    }

    fn interval(&self) -> Duration {
        let lease = self.lease();
        let configured = self.interval.filter(|it| *it < lease.timeout());
        configured
            .unwrap_or(lease.heartbeat_interval())
            .max(MIN_WAIT)
    }
}

/// The first delay after a failure.
const FIRST_RETRY: Duration = Duration::from_millis(250);

/// The minimum delay, even if the registry returns a very short lease.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// Before the lease expires, an attempt may take a sixth of the lease, and the delay after a
/// failure is at most a twelfth. The first heartbeat is sent after a third of the lease. If the
/// first two heartbeats are lost, the third heartbeat is sent after 1/3 + 2 * (1/6 + 1/12) = 5/6 of
/// the lease, which is in time.
const ATTEMPTS_PER_LEASE: u32 = 6;
const RETRIES_PER_LEASE: u32 = 12;

/// The maximum fraction by which a heartbeat interval is randomly shortened. The jitter prevents
/// agents that were started together from staying synchronized.
const HEARTBEAT_JITTER: f64 = 0.1;

#[cfg(test)]
mod tests {
    use agentwire_codec::WireError;

    use super::*;

    /// Checks the next action and, apart from the jitter, its delay.
    #[track_caller]
    fn assert_next(next: Next, seconds: f64, action: Action, jitter: f64) {
        match next {
            Next::After(wait, next) => {
                let wait = wait.as_secs_f64();
                let range = seconds * (1.0 - jitter) - 1e-6..=seconds + 1e-6;
                assert!(range.contains(&wait), "{wait} is not in {range:?}");
                assert_eq!(next, action);
            }
            Next::GiveUp => panic!("gave up"),
        }
    }

    #[track_caller]
    fn assert_heartbeat(next: Next, seconds: f64) {
        assert_next(next, seconds, Action::Heartbeat, HEARTBEAT_JITTER);
    }

    fn lease(seconds: u64) -> Option<Lease> {
        Some(Lease::new(Duration::from_secs(seconds)))
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn not_registered() -> RegistryError {
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
    fn the_interval_is_a_third_of_the_lease_unless_configured() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        assert_heartbeat(schedule.succeeded(lease(15), now, now), 5.0);
        assert_heartbeat(schedule.succeeded(None, now, now), 5.0);
        let mut configured = Schedule::new(Some(Duration::from_secs(2)));
        assert_heartbeat(configured.succeeded(lease(15), now, now), 2.0);
        // If a new lease is shorter than the configured interval, the lease overrides the interval.
        assert_heartbeat(configured.succeeded(lease(1), now, now), 1.0 / 3.0);
        let mut zero = Schedule::new(Some(Duration::ZERO));
        assert_eq!(
            zero.succeeded(None, now, now),
            Next::After(MIN_WAIT, Action::Heartbeat)
        );
    }

    #[test]
    fn an_interval_longer_than_the_first_lease_is_refused() {
        let now = Instant::now();
        let mut schedule = Schedule::new(Some(Duration::from_secs(90)));
        assert!(schedule.check(Lease::default()).is_err());
        schedule.check(lease(91).unwrap()).unwrap();
        schedule.succeeded(lease(91), now, now);
        schedule.check(Lease::default()).unwrap();
    }

    #[test]
    fn the_duration_of_an_attempt_is_subtracted_from_the_wait() {
        let started = Instant::now();
        let mut schedule = Schedule::new(None);
        let next = schedule.succeeded(lease(90), started, started + seconds(20.0));
        assert_next(next, 10.0, Action::Heartbeat, 0.3);
        assert_eq!(schedule.held_until(), Some(started + seconds(90.0)));
        let next = schedule.succeeded(None, started, started + seconds(60.0));
        assert_eq!(next, Next::After(MIN_WAIT, Action::Heartbeat));
    }

    #[test]
    fn a_lease_is_clamped_to_the_longest_timeout() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        schedule.succeeded(Some(Lease::new(Duration::MAX)), now, now);
        assert_eq!(schedule.held_until(), Some(now + MAX_TIMEOUT));
    }

    #[test]
    fn delays_double_up_to_the_interval_and_start_over_after_a_success() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        for expected in [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            let next = schedule.failed(&unreachable(), now);
            assert_next(next, expected, Action::Register, Backoff::JITTER);
        }
        // Before the lease expires, the delay is limited to a fraction of the lease.
        for _ in 0..2 {
            schedule.succeeded(lease(90), now, now);
            for (after, expected) in [(30.0, 0.25), (60.0, 0.5), (89.0, 1.0), (90.0, 2.0)] {
                let next = schedule.failed(&unreachable(), now + seconds(after));
                assert_next(next, expected, Action::Heartbeat, Backoff::JITTER);
            }
        }
        schedule.succeeded(lease(6), now, now);
        for (after, expected) in [(2.0, 0.25), (3.0, 0.5), (4.0, 0.5), (6.0, 1.0)] {
            let next = schedule.failed(&unreachable(), now + seconds(after));
            assert_next(next, expected, Action::Heartbeat, Backoff::JITTER);
        }
    }

    #[test]
    fn two_unanswered_heartbeats_do_not_cost_the_lease() {
        let longest = Duration::from_secs(30);
        for timeout in [1, 15, 90, 3600] {
            let start = Instant::now();
            let mut schedule = Schedule::new(None);
            assert_eq!(schedule.attempt_limit(longest, start), longest);
            let mut next = schedule.succeeded(lease(timeout), start, start);
            let mut now = start;
            for _ in 0..2 {
                let Next::After(wait, _) = next else {
                    panic!("{next:?}");
                };
                now += wait;
                now += schedule.attempt_limit(longest, now);
                next = schedule.failed(&unreachable(), now);
            }
            let Next::After(wait, _) = next else {
                panic!("{next:?}");
            };
            now += wait;
            let left = schedule.attempt_limit(longest, now);
            assert!(now + left <= start + seconds(timeout as f64), "{timeout}");
        }
    }

    #[test]
    fn delays_are_jittered() {
        let now = Instant::now();
        let waits = |mut next: Box<dyn FnMut() -> Next>| {
            let mut waits: Vec<_> = (0..100).map(|_| format!("{:?}", next())).collect();
            waits.sort();
            waits.dedup();
            waits.len()
        };
        let heartbeat = move || Schedule::new(None).succeeded(None, now, now);
        let retry = move || Schedule::new(None).failed(&unreachable(), now);
        assert!(waits(Box::new(heartbeat)) > 50 && waits(Box::new(retry)) > 50);
    }

    #[test]
    fn a_lost_registration_is_repeated_at_once_and_then_with_delays() {
        let now = Instant::now();
        let mut schedule = Schedule::new(None);
        schedule.succeeded(lease(90), now, now);
        let next = schedule.failed(&not_registered(), now);
        assert_eq!(next, Next::After(Duration::ZERO, Action::Register));
        assert_eq!(schedule.held_until(), None);
        let next = schedule.failed(&not_registered(), now);
        assert_next(next, 0.25, Action::Register, Backoff::JITTER);
    }

    #[test]
    fn a_permanent_error_gives_up_only_before_the_first_success() {
        let now = Instant::now();
        let invalid_name = || crate::check_name("").unwrap_err();
        for error in [invalid_name(), not_a_registry()] {
            assert_eq!(
                Schedule::new(None).failed(&error, now),
                Next::GiveUp,
                "{error}"
            );
        }
        let mut schedule = Schedule::new(None);
        schedule.succeeded(lease(90), now, now);
        for error in [invalid_name(), not_a_registry()] {
            assert_ne!(schedule.failed(&error, now), Next::GiveUp, "{error}");
        }
    }

    #[test]
    fn a_replaced_instance_registers_again_once_the_other_is_unprotected() {
        let now = Instant::now();
        let owned = |seconds| RegistryError::Owned {
            name: "weather".to_owned(),
            endpoint: "tcp://host:80".parse().unwrap(),
            retry_after: Duration::from_secs(seconds),
        };
        for lost in [replaced(), owned(40)] {
            let mut schedule = Schedule::new(None);
            schedule.succeeded(lease(90), now, now);
            let next = schedule.failed(&lost, now);
            assert_eq!(next, Next::After(Duration::ZERO, Action::Register));
            assert_eq!(schedule.held_until(), None);
            for (seconds, expected) in [(40, 30.0), (10, 10.0), (0, 0.25)] {
                let Next::After(wait, Action::Register) = schedule.failed(&owned(seconds), now)
                else {
                    panic!("gave up");
                };
                let wait = wait.as_secs_f64();
                assert!((expected..=expected * 1.1 + 1e-6).contains(&wait), "{wait}");
            }
            assert_heartbeat(schedule.succeeded(lease(90), now, now), 30.0);
        }
        // The successor of a crashed process waits before its first successful registration.
        assert_ne!(Schedule::new(None).failed(&owned(40), now), Next::GiveUp);
    }
}
