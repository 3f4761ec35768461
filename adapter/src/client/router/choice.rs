//! The choice of the instance for the next attempt of a call.

use tokio::time::Instant;

use super::{
    balance::Balancer,
    entry::Entry,
    history::{AttemptHistory, AttemptOutcome},
};

/// What the next attempt of a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// It calls the instance with this index.
    Call(usize),
    /// It waits, because no instance is expected to be available before this time.
    Wait(Instant),
    /// Nothing, because no instance can serve the call.
    None,
}

/// Chooses an instance for a call. Instances that the call has tried are chosen only if no other
/// instance is available.
///
/// If `again` is false, instances that the call could not reach are not chosen again, and the call
/// does not wait for ejected instances. A call probes an ejected instance only if no other instance
/// is available.
pub(super) fn choose(
    entries: &[Entry],
    balancer: &mut Balancer,
    now: Instant,
    history: &AttemptHistory,
    again: bool,
) -> Pick {
    let may = |entry: &Entry| match history.outcome(entry.instance.id) {
        _ if entry.is_expired(now) => false,
        None | Some(AttemptOutcome::Reached) => true,
        Some(AttemptOutcome::Unreachable) => again,
        Some(AttemptOutcome::Unusable) => false,
    };
    let is_new = |entry: &Entry| may(entry) && !history.contains(entry.instance.id);
    let well = |entry: &Entry| entry.health.is_well() && !entry.health.is_suspended();
    let due = |entry: &Entry| entry.health.is_due(now);
    let is_trial = |entry: &Entry| {
        entry.health.is_well() && entry.health.is_trial_due(now) && entry.is_confirmed()
    };
    let mut pick = |condition: &dyn Fn(&Entry) -> bool| pick(entries, balancer, now, condition);
    let index = pick(&|entry| is_trial(entry) && is_new(entry))
        .or_else(|| pick(&|entry| well(entry) && entry.is_confirmed() && is_new(entry)))
        .or_else(|| pick(&|entry| due(entry) && entry.is_confirmed() && is_new(entry)))
        .or_else(|| pick(&|entry| well(entry) && is_new(entry)))
        .or_else(|| pick(&|entry| due(entry) && is_new(entry)))
        .or_else(|| pick(&|entry| well(entry) && may(entry)))
        .or_else(|| pick(&|entry| due(entry) && may(entry)))
        .or_else(|| pick(&|entry| entry.health.is_well() && may(entry)));
    if let Some(index) = index {
        return Pick::Call(index);
    }
    let allowed = entries.iter().enumerate().filter(|(_, entry)| may(entry));
    match allowed.min_by_key(|(_, entry)| entry.health.ejected_until()) {
        Some((_, entry)) if again => Pick::Wait(entry.health.ejected_until().unwrap_or(now)),
        // A call without retries tries each instance once, even if the instance is ejected.
        Some((index, _)) => Pick::Call(index),
        None => Pick::None,
    }
}

/// Returns whether an instance is available that the call has not tried.
pub(super) fn has_another(entries: &[Entry], now: Instant, history: &AttemptHistory) -> bool {
    let is_available = |entry: &Entry| {
        !entry.health.is_suspended() && (entry.health.is_well() || entry.health.is_due(now))
    };
    let is_new = |entry: &Entry| !entry.is_expired(now) && !history.contains(entry.instance.id);
    let mut entries = entries.iter();
    entries.any(|entry| is_available(entry) && is_new(entry))
}

/// Picks an entry that satisfies the condition, and returns its index.
fn pick(
    entries: &[Entry],
    balancer: &mut Balancer,
    now: Instant,
    condition: impl Fn(&Entry) -> bool,
) -> Option<usize> {
    let nth = |n: usize| {
        let fitting = entries.iter().enumerate().filter(|(_, one)| condition(one));
        fitting.map(|(index, _)| index).nth(n)
    };
    let count = entries.iter().filter(|entry| condition(entry)).count();
    let load = |n| {
        nth(n).map_or(0, |index| {
            let entry = &entries[index];
            entry.instance.in_flight() + entry.health.failure_load(now)
        })
    };
    nth(balancer.pick(count, load)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentwire_registry::Registration;
    use agentwire_transport::{Endpoint, internal::Backoff};
    use fastrand::Rng;

    use super::*;
    use crate::client::router::{balance::Balance, health::Outcome, members::Members};

    struct Instances {
        members: Members,
        balancer: Balancer,
        now: Instant,
    }

    impl Instances {
        /// Creates instances with the ids from 0, which are well.
        fn new(count: usize) -> Self {
            let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
            let mut members = Members::new(backoff);
            for number in 0..count {
                let endpoint = Endpoint::memory(number.to_string()).unwrap();
                members.join(&Registration::new("agent", endpoint));
            }
            Self {
                members,
                balancer: Balancer::new(Balance::RoundRobin, Rng::with_seed(7)),
                now: Instant::now(),
            }
        }

        fn fail(&mut self, instance: u64) {
            let entry = self.members.entry_mut(instance).unwrap();
            let epoch = entry.health.snapshot().epoch();
            entry.health.report(epoch, Outcome::Failed, self.now);
        }

        fn choose(&mut self, history: &AttemptHistory, again: bool) -> Pick {
            let entries = self.members.entries();
            choose(entries, &mut self.balancer, self.now, history, again)
        }

        /// Returns the id of the instance that is called.
        fn call(&mut self, history: &AttemptHistory, again: bool) -> u64 {
            match self.choose(history, again) {
                Pick::Call(index) => self.members.entries()[index].instance.id,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn calls_go_to_each_instance_in_turn() {
        let mut instances = Instances::new(3);
        let history = AttemptHistory::default();
        let mut chosen: Vec<_> = (0..3).map(|_| instances.call(&history, true)).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2]);
    }

    #[test]
    fn a_call_prefers_instances_that_it_has_not_tried() {
        let mut instances = Instances::new(2);
        for (tried, other) in [(0, 1), (1, 0)] {
            let mut history = AttemptHistory::default();
            history.add(tried, AttemptOutcome::Reached);
            for _ in 0..4 {
                assert_eq!(instances.call(&history, true), other);
            }
            let has_another = |history: &AttemptHistory| {
                has_another(instances.members.entries(), instances.now, history)
            };
            assert!(has_another(&history));
            history.add(other, AttemptOutcome::Reached);
            assert!(!has_another(&history));
            // Without an alternative, it calls one again.
            instances.call(&history, true);
        }
    }

    #[test]
    fn a_call_without_retries_tries_each_instance_once_and_does_not_wait() {
        let mut instances = Instances::new(3);
        (0..3).for_each(|instance| instances.fail(instance));
        let mut history = AttemptHistory::default();
        for _ in 0..3 {
            let tried = instances.call(&history, false);
            assert!(history.add(tried, AttemptOutcome::Unreachable));
        }
        assert_eq!(instances.choose(&history, false), Pick::None);
    }

    #[test]
    fn calls_wait_for_unreachable_instances_and_not_for_unusable_ones() {
        let mut instances = Instances::new(2);
        (0..2).for_each(|instance| instances.fail(instance));
        let mut history = AttemptHistory::default();
        history.add(0, AttemptOutcome::Unusable);
        history.add(1, AttemptOutcome::Unreachable);
        let choice = instances.choose(&history, true);
        assert!(matches!(choice, Pick::Wait(_)), "{choice:?}");
        history.add(1, AttemptOutcome::Unusable);
        assert_eq!(instances.choose(&history, true), Pick::None);
    }
}
