use std::time::Duration;

use crate::{Lease, RegistryError};

/// What to do next to stay registered. It is told what became of the last step and does no I/O.
#[derive(Debug)]
pub(super) struct Schedule {
    /// What the registry said; `None` before it did.
    lease: Option<Lease>,
    /// How often to be heard, unless the lease says.
    interval: Option<Duration>,
    /// The next wait after a failure.
    retry: Duration,
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
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// The shortest wait of any kind, whatever a registry says.
const SHORTEST: Duration = Duration::from_millis(1);

impl Schedule {
    pub(super) fn new(interval: Option<Duration>) -> Self {
        Self {
            lease: None,
            interval,
            retry: FIRST_RETRY,
            step: Step::Register,
        }
    }

    pub(super) fn step(&self) -> Step {
        self.step
    }

    pub(super) fn lease(&self) -> Lease {
        self.lease.unwrap_or_default()
    }

    /// It went well. A registration tells the lease.
    pub(super) fn succeeded(&mut self, lease: Option<Lease>) -> Next {
        self.lease = lease.or(self.lease);
        self.retry = FIRST_RETRY;
        self.step = Step::Heartbeat;
        Next::After(self.interval(), self.step)
    }

    pub(super) fn failed(&mut self, error: &RegistryError) -> Next {
        if error.is_not_registered() && self.step == Step::Heartbeat {
            // Forgotten. At once, but only once: what comes after is the failure of a registration.
            self.step = Step::Register;
            return Next::After(Duration::ZERO, self.step);
        }
        if !error.is_retryable() {
            return Next::Never;
        }
        let wait = self.retry.min(self.interval());
        self.retry = wait.saturating_mul(2);
        Next::After(wait, self.step)
    }

    fn interval(&self) -> Duration {
        let usual = self.lease().heartbeat_interval();
        self.interval.unwrap_or(usual).max(SHORTEST)
    }
}

#[cfg(test)]
mod tests {
    use agentwire_codec::WireError;

    use super::*;

    fn seconds(next: Next) -> (u64, Step) {
        match next {
            Next::After(wait, step) => (wait.as_secs(), step),
            Next::Never => panic!("it has ended"),
        }
    }

    fn forgotten() -> RegistryError {
        RegistryError::NotRegistered {
            name: "weather".to_owned(),
            endpoint: None,
        }
    }

    fn unreachable() -> RegistryError {
        RegistryError::Remote(WireError::new("AGENT_UNAVAILABLE", "later"))
    }

    #[test]
    fn it_is_heard_as_often_as_the_lease_wants_unless_it_is_told() {
        let mut schedule = Schedule::new(None);
        let lease = Lease::new(Duration::from_secs(15));
        assert_eq!(
            seconds(schedule.succeeded(Some(lease))),
            (5, Step::Heartbeat)
        );
        assert_eq!(seconds(schedule.succeeded(None)), (5, Step::Heartbeat));
        let mut told = Schedule::new(Some(Duration::from_secs(2)));
        assert_eq!(seconds(told.succeeded(Some(lease))), (2, Step::Heartbeat));
        let mut greedy = Schedule::new(Some(Duration::ZERO));
        assert_eq!(
            greedy.succeeded(None),
            Next::After(SHORTEST, Step::Heartbeat)
        );
    }

    #[test]
    fn after_failures_it_waits_longer_up_to_the_interval_and_starts_over() {
        let mut schedule = Schedule::new(None);
        for expected in [5, 10, 20, 30, 30] {
            let next = schedule.failed(&unreachable());
            assert_eq!(seconds(next), (expected, Step::Register));
        }
        schedule.succeeded(Some(Lease::default()));
        let next = schedule.failed(&unreachable());
        assert_eq!(seconds(next), (5, Step::Heartbeat));
        schedule.succeeded(None);
        assert_eq!(
            seconds(schedule.failed(&unreachable())),
            (5, Step::Heartbeat)
        );

        let short = Lease::new(Duration::from_secs(6));
        schedule.succeeded(Some(short));
        assert_eq!(
            seconds(schedule.failed(&unreachable())),
            (2, Step::Heartbeat)
        );
    }

    #[test]
    fn one_that_was_forgotten_registers_at_once_and_then_with_waits() {
        let mut schedule = Schedule::new(None);
        schedule.succeeded(Some(Lease::default()));
        let next = schedule.failed(&forgotten());
        assert_eq!(next, Next::After(Duration::ZERO, Step::Register));
        assert_eq!(seconds(schedule.failed(&forgotten())), (5, Step::Register));
    }

    #[test]
    fn what_waiting_does_not_mend_ends_it() {
        let replaced = RegistryError::Replaced {
            name: "weather".to_owned(),
            endpoint: "tcp://host:80".parse().unwrap(),
        };
        let no_name = crate::check_name("").unwrap_err();
        for error in [replaced, no_name] {
            assert_eq!(Schedule::new(None).failed(&error), Next::Never, "{error}");
        }
    }
}
