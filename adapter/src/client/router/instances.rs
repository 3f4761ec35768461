//! The instances of an agent: which are called and probed, and what the outcomes of calls change.

use std::{sync::Arc, time::Duration};

use agentwire_transport::internal::{Backoff, Untrusted};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    balance::Balancer,
    choice::{Pick, choose, has_another},
    entry::Entry,
    health::{Change, FailureEpoch, HealthSnapshot, Outcome},
    history::AttemptHistory,
    instance::{InFlightGuard, Instance},
    members::Members,
};

/// The known instances of an agent and their health.
///
/// Unconfirmed instances are called only if no other instance is available, and removed at their
/// first failure.
#[derive(Debug)]
pub(super) struct Instances {
    pub(super) members: Members,
    balancer: Balancer,
    /// The maximum duration of a probe.
    connect_timeout: Duration,
}

/// The instance that was chosen for the next attempt of a call, if any.
#[derive(Debug)]
pub(super) enum Choice {
    Now(InFlightGuard),
    /// No instance is expected to be available before the given time.
    Wait(Instant),
    /// No instance can serve the call.
    None,
}

impl Instances {
    pub(super) fn new(balancer: Balancer, backoff: Backoff, connect_timeout: Duration) -> Self {
        Self {
            members: Members::new(backoff),
            balancer,
            connect_timeout,
        }
    }

    /// Chooses an instance for a call. Instances that the call has tried are chosen only if no
    /// other instance is available.
    ///
    /// If `again` is false, instances that the call could not reach are not chosen again, and the
    /// call does not wait for ejected instances. A call probes an ejected instance only if no other
    /// instance is available.
    pub(super) fn choose(&mut self, now: Instant, history: &AttemptHistory, again: bool) -> Choice {
        let entries = self.members.entries();
        match choose(entries, &mut self.balancer, now, history, again) {
            Pick::Call(index) => self.begin_call(index, now),
            Pick::Wait(until) => Choice::Wait(until),
            Pick::None => Choice::None,
        }
    }

    /// Chooses an ejected instance to probe in the background, if a probe is due. The caller must
    /// start a task that probes the instance, and pass the task to
    /// [`keep_probe`](Self::keep_probe).
    pub(super) fn begin_probe(
        &mut self,
        now: Instant,
    ) -> Option<(Arc<Instance>, Arc<HealthSnapshot>)> {
        let is_due = |entry: &&mut Entry| entry.health.is_due(now) && !entry.is_expired(now);
        let entry = self.members.entries_mut().iter_mut().find(is_due)?;
        entry.health.begin_probe(now + self.connect_timeout);
        let health = Arc::clone(entry.health.snapshot());
        Some((Arc::clone(&entry.instance), health))
    }

    pub(super) fn keep_probe(&mut self, instance: u64, probe: AbortOnDropHandle<()>) {
        if let Some(entry) = self.members.entry_mut(instance) {
            entry.probe = Some(probe);
        }
    }

    /// Ends all probes.
    pub(super) fn end_probes(&mut self) {
        self.members
            .entries_mut()
            .iter_mut()
            .for_each(|entry| entry.probe = None);
    }

    /// Returns whether an instance is available that the call has not tried.
    pub(super) fn has_another(&self, now: Instant, history: &AttemptHistory) -> bool {
        has_another(self.members.entries(), now, history)
    }

    /// Applies the outcome of an attempt that began in `epoch`, and returns its effect.
    ///
    /// If the attempt failed and the instance is unconfirmed, also removes and returns the
    /// instance.
    pub(super) fn report(
        &mut self,
        instance: u64,
        epoch: FailureEpoch,
        outcome: Outcome,
        now: Instant,
    ) -> (Change, Option<Arc<Instance>>) {
        let Some(index) = self.members.position(instance) else {
            return (Change::None, None);
        };
        let entry = &mut self.members.entries_mut()[index];
        let change = entry.health.report(epoch, outcome, now);
        let has_answered = matches!(outcome, Outcome::Answered | Outcome::AnsweredError);
        if has_answered && !entry.is_confirmed() {
            entry.unlisted_since = Some(now);
            entry.health.expect_answer();
        }
        let is_current = entry.health.snapshot().epoch() == epoch;
        if outcome == Outcome::TimedOut && is_current && entry.health.is_stalled() {
            if entry.is_confirmed() {
                return (self.suspend(index, now), None);
            }
            return (Change::Ejected, Some(self.members.remove(index)));
        }
        let is_removed = change == Change::Ejected && !entry.is_confirmed();
        let removed = is_removed.then(|| self.members.remove(index));
        (change, removed)
    }

    /// Suspends an instance that does not answer, unless too few instances would be left. An
    /// instance that is suspended already gets no trial call before the next interval.
    fn suspend(&mut self, index: usize, now: Instant) -> Change {
        let is_out = |one: &Entry| one.health.is_suspended() || !one.health.is_well();
        let out = self
            .members
            .entries()
            .iter()
            .filter(|entry| is_out(entry))
            .count();
        let was_suspended = self.members.entries()[index].health.is_suspended();
        if !was_suspended && (out + 1) * 2 > self.members.entries().len() {
            return Change::None;
        }
        let entry = &mut self.members.entries_mut()[index];
        entry.health.suspend(now);
        if !was_suspended {
            let endpoint = Untrusted(&entry.instance.endpoint);
            tracing::warn!(%endpoint, "instance does not answer; sending it only trial calls");
        }
        Change::Ejected
    }

    fn begin_call(&mut self, index: usize, now: Instant) -> Choice {
        let entry = &mut self.members.entries_mut()[index];
        if !entry.health.is_well() {
            entry.health.begin_probe(now + self.connect_timeout);
        }
        if entry.health.is_trial_due(now) {
            entry.health.begin_trial(now);
        }
        let health = Arc::clone(entry.health.snapshot());
        Choice::Now(InFlightGuard::new(Arc::clone(&entry.instance), health))
    }
}

#[cfg(test)]
mod tests {
    use agentwire_registry::{Lease, Registration};
    use agentwire_transport::Endpoint;
    use fastrand::Rng;

    use super::*;
    use crate::client::{
        channel::deadlines::Candidate,
        router::{balance::Balance, members::MAX_INSTANCES},
    };

    fn instances(balance: Balance, names: &[&str]) -> Instances {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let balancer = Balancer::new(balance, Rng::with_seed(7));
        let mut instances = Instances::new(balancer, backoff, Duration::from_secs(3));
        for name in names {
            instances.members.join(&registration(name));
        }
        instances
    }

    /// Returns a registration whose endpoint and instance id are both `name`.
    fn registration(name: &str) -> Registration {
        Registration::new("agent", endpoint(name)).with_instance(name)
    }

    fn endpoint(name: &str) -> Endpoint {
        Endpoint::memory(name).unwrap()
    }

    /// Chooses an instance for a new call. Returns `None` if the call has to wait.
    fn choose(instances: &mut Instances, now: Instant) -> Option<InFlightGuard> {
        match instances.choose(now, &AttemptHistory::default(), true) {
            Choice::Now(guard) => Some(guard),
            Choice::Wait(until) => {
                assert!(until > now);
                None
            }
            Choice::None => panic!("there are instances"),
        }
    }

    fn at(guard: &InFlightGuard) -> String {
        guard.instance().endpoint.to_string()
    }

    const EACH: [&str; 3] = ["a", "b", "c"];

    #[test]
    fn a_call_counts_for_as_long_as_it_lives() {
        let mut instances = instances(Balance::PowerOfTwoChoices, &["a", "b"]);
        let now = Instant::now();
        let first = choose(&mut instances, now).unwrap();
        for _ in 0..20 {
            let second = choose(&mut instances, now).unwrap();
            assert_ne!(at(&second), at(&first), "it has no call");
        }
    }

    /// Reports the outcome of an attempt that starts now.
    fn report(
        instances: &mut Instances,
        instance: u64,
        outcome: Outcome,
        now: Instant,
    ) -> (Change, Option<Arc<Instance>>) {
        let entry = instances.members.entry_mut(instance).unwrap();
        let epoch = entry.health.snapshot().epoch();
        instances.report(instance, epoch, outcome, now)
    }

    /// Reports a failure of an instance, and returns the instance if the failure removes it.
    fn fail(instances: &mut Instances, instance: u64, now: Instant) -> Option<Arc<Instance>> {
        report(instances, instance, Outcome::Failed, now).1
    }

    #[test]
    fn a_failed_instance_is_ejected_until_it_has_been_probed() {
        for balance in [Balance::RoundRobin, Balance::PowerOfTwoChoices] {
            let mut instances = instances(balance, &EACH);
            let now = Instant::now();
            assert!(instances.begin_probe(now).is_none());
            let failed = choose(&mut instances, now).unwrap();
            assert!(fail(&mut instances, failed.instance().id, now).is_none());
            assert!(failed.has_failed());
            let later = now + Duration::from_millis(100);
            for when in [now, later] {
                for _ in 0..20 {
                    let guard = choose(&mut instances, when).unwrap();
                    assert_ne!(at(&guard), at(&failed), "there are others");
                }
            }
            assert!(instances.begin_probe(now).is_none(), "not yet");
            let (probed, _) = instances.begin_probe(later).unwrap();
            assert_eq!(probed.id, failed.instance().id);
            assert!(instances.begin_probe(later).is_none(), "it is under way");
            for expected in [Change::Available, Change::None] {
                let (change, _) = report(&mut instances, probed.id, Outcome::Connected, later);
                assert_eq!(change, expected);
            }
            let back = at(&failed);
            drop(failed);
            let mut guards = (0..40).map(|_| choose(&mut instances, later).unwrap());
            assert!(guards.any(|guard| at(&guard) == back));
        }
    }

    #[test]
    fn without_alternatives_one_call_probes_an_ejected_instance() {
        let mut instances = instances(Balance::RoundRobin, &["a"]);
        let now = Instant::now();
        fail(&mut instances, 0, now);
        assert!(choose(&mut instances, now).is_none());
        let later = now + Duration::from_millis(100);
        assert!(choose(&mut instances, later).is_some());
        for _ in 0..3 {
            assert!(choose(&mut instances, later).is_none());
        }
        let (change, _) = report(&mut instances, 0, Outcome::Answered, later);
        assert_eq!(change, Change::Available);
        assert!(choose(&mut instances, later).is_some());
    }

    #[test]
    fn when_all_are_ejected_calls_wait_for_the_first_that_is_due() {
        let mut instances = instances(Balance::RoundRobin, &["a", "b"]);
        let now = Instant::now();
        let first = choose(&mut instances, now).unwrap();
        let second = choose(&mut instances, now).unwrap();
        fail(&mut instances, first.instance().id, now);
        fail(
            &mut instances,
            second.instance().id,
            now + Duration::from_secs(9),
        );
        match instances.choose(now, &AttemptHistory::default(), true) {
            Choice::Wait(until) => assert!(until <= now + Duration::from_millis(100)),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the endpoints that calls currently use.
    fn called(instances: &mut Instances, now: Instant) -> Vec<String> {
        let mut called: Vec<_> = (0..20)
            .filter_map(
                |_| match instances.choose(now, &AttemptHistory::default(), true) {
                    Choice::Now(guard) => Some(at(&guard)),
                    _ => None,
                },
            )
            .collect();
        called.sort();
        called.dedup();
        called
    }

    #[test]
    fn instances_that_a_snapshot_omits_are_called_only_if_there_are_no_others() {
        let mut instances = instances(Balance::RoundRobin, &EACH);
        let kept = instances.members.iter().next().map(Arc::clone).unwrap();
        let now = Instant::now();
        let present = ["d", "a"].map(|name| Arc::new(registration(name)));
        assert!(instances.members.reconcile(&present, now).is_empty());
        assert_eq!(called(&mut instances, now), ["memory://a", "memory://d"]);
        assert!(
            instances
                .members
                .iter()
                .any(|instance| Arc::ptr_eq(instance, &kept))
        );

        assert!(instances.members.reconcile(&[], now).is_empty());
        assert!(!instances.members.has_confirmed());
        assert_eq!(called(&mut instances, now).len(), 4);
        // Registering again confirms an instance. A failure removes an unconfirmed instance.
        instances.members.join(&registration("b"));
        assert_eq!(called(&mut instances, now), ["memory://b"]);
        assert!(fail(&mut instances, 1, now).is_none());
        assert!(fail(&mut instances, 2, now).is_some());
        assert_eq!(instances.members.len(now), 3);

        let after = now + Lease::DEFAULT_TIMEOUT;
        assert_eq!(instances.members.len(after), 1);
        assert_eq!(instances.members.remove_expired(after).len(), 2);
        assert!(instances.members.leave(&endpoint("b")).is_some());
        assert!(instances.members.leave(&endpoint("b")).is_none());
        assert!(instances.members.is_empty(after));
        let choice = instances.choose(after, &AttemptHistory::default(), true);
        assert!(matches!(choice, Choice::None));
    }

    #[test]
    fn a_successor_starts_with_a_clean_health_and_a_reregistration_does_not() {
        let mut instances = instances(Balance::RoundRobin, &["a"]);
        let now = Instant::now();
        fail(&mut instances, 0, now);
        instances.members.join(&registration("a"));
        assert!(choose(&mut instances, now).is_none());
        instances
            .members
            .join(&registration("a").with_instance("another"));
        assert!(choose(&mut instances, now).is_some());
    }

    #[test]
    fn the_number_of_instances_is_limited() {
        let mut instances = instances(Balance::RoundRobin, &[]);
        for number in 0..=MAX_INSTANCES {
            instances.members.join(&registration(&number.to_string()));
        }
        let now = Instant::now();
        assert_eq!(instances.members.len(now), MAX_INSTANCES);
        // At the limit, a new instance replaces an unconfirmed instance.
        let new = Arc::new(registration("new"));
        instances.members.reconcile(&[Arc::clone(&new)], now);
        assert_eq!(instances.members.len(now), MAX_INSTANCES);
        assert_eq!(called(&mut instances, now), ["memory://new"]);
    }

    fn stall(instances: &mut Instances, instance: u64, now: Instant) {
        for _ in 0..5 {
            report(instances, instance, Outcome::TimedOut, now);
        }
    }

    #[test]
    fn an_instance_that_never_answers_gets_one_trial_call_per_interval() {
        for balance in [Balance::RoundRobin, Balance::PowerOfTwoChoices] {
            let mut instances = instances(balance, &EACH);
            let now = Instant::now();
            stall(&mut instances, 0, now);
            assert_eq!(called(&mut instances, now), ["memory://b", "memory://c"]);
            let later = now + Duration::from_secs(5);
            for _ in 0..2 {
                let calls = (0..20).map(|_| at(&choose(&mut instances, later).unwrap()));
                let trials = calls.filter(|called| called == "memory://a").count();
                assert!(trials <= 1);
            }
            let (change, _) = report(&mut instances, 0, Outcome::Answered, later);
            assert_eq!(change, Change::Available);
            assert_eq!(called(&mut instances, later).len(), 3);
        }
    }

    #[test]
    fn at_most_half_of_the_instances_are_suspended() {
        let mut instances = instances(Balance::RoundRobin, &["a", "b", "c", "d", "e"]);
        let now = Instant::now();
        for instance in 0..5 {
            stall(&mut instances, instance, now);
        }
        assert_eq!(called(&mut instances, now).len(), 3);
        // If no other instance is left, calls use the suspended ones.
        for name in ["c", "d", "e"] {
            instances.members.leave(&endpoint(name));
        }
        assert_eq!(called(&mut instances, now), ["memory://a", "memory://b"]);
    }

    #[test]
    fn an_instance_that_fails_at_once_attracts_no_calls() {
        let mut instances = instances(Balance::PowerOfTwoChoices, &["a", "b", "c", "d"]);
        let start = Instant::now();
        let (mut busy, mut failed) = (std::collections::VecDeque::new(), 0);
        // Sixteen callers: the first instance fails at once, and the others take their time.
        for call in 0..1600 {
            let now = start + Duration::from_millis(call);
            let guard = choose(&mut instances, now).unwrap();
            if guard.instance().id == 0 {
                failed += 1;
                drop(guard);
                report(&mut instances, 0, Outcome::AnsweredError, now);
                continue;
            }
            report(&mut instances, guard.instance().id, Outcome::Answered, now);
            busy.push_back(guard);
            if busy.len() == 16 {
                busy.pop_front();
            }
        }
        assert!(failed > 0 && failed < 400, "{failed} of 1600");
    }

    #[test]
    fn another_instance_id_at_an_endpoint_is_another_instance() {
        let mut instances = instances(Balance::RoundRobin, &["a"]);
        let now = Instant::now();
        let old = choose(&mut instances, now).unwrap();
        assert!(instances.members.join(&registration("a")).is_none());
        let removed = instances
            .members
            .join(&registration("a").with_instance("b"));
        assert_eq!(removed.unwrap().id, old.instance().id);
        let new = choose(&mut instances, now).unwrap();
        assert_ne!(new.instance().id, old.instance().id);
        assert!(!Arc::ptr_eq(new.instance(), old.instance()));
        // A failure of the old instance has no effect on the new one.
        let failed = instances.report(old.instance().id, old.epoch(), Outcome::Failed, now);
        assert_eq!(failed.0, Change::None);
    }

    #[test]
    fn expired_instances_are_kept_while_they_answer() {
        let mut instances = instances(Balance::RoundRobin, &["a", "b"]);
        let mut now = Instant::now();
        for name in ["a", "b"] {
            instances.members.expire(&endpoint(name), now);
        }
        for _ in 0..5 {
            let guard = choose(&mut instances, now).unwrap();
            let id = guard.instance().id;
            assert!(!guard.health().has_answered(), "each answer is reported");
            report(&mut instances, id, Outcome::Answered, now);
            now += Lease::DEFAULT_TIMEOUT / 3;
        }
        assert_eq!(instances.members.len(now), 2);
        assert!(fail(&mut instances, 0, now).is_some());
        now += Lease::DEFAULT_TIMEOUT;
        assert!(instances.members.is_empty(now));
    }
}
