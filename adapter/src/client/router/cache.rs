//! A cache of the instances that the registry has reported.

use std::{sync::Arc, time::Duration};

use agentwire_registry::{Event, Query, Registration};
use tokio::time::Instant;

use super::{instance::Instance, instances::Instances};

/// The known instances that match a query, and the times at which the registry confirmed them.
#[derive(Debug)]
pub(super) struct Cache {
    query: Query,
    pub(super) instances: Instances,
    /// Whether a live watch of the registry reports changes.
    is_followed: bool,
    /// The time of the last lookup that failed or whose result was applied.
    looked_up: Option<Instant>,
    /// The time of the last report from the registry.
    heard: Option<Instant>,
    /// The number of events that the watch has reported.
    events: u64,
}

/// The number of reported events at the start of a lookup. If the watch reports more events during
/// the lookup, the result may be outdated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LookupStart(u64);

impl Cache {
    pub(super) fn new(query: Query, instances: Instances) -> Self {
        Self {
            query,
            instances,
            is_followed: false,
            looked_up: None,
            heard: None,
            events: 0,
        }
    }

    /// Applies an event of the watch, and returns the removed instances.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) -> Vec<Arc<Instance>> {
        self.events += 1;
        self.heard = Some(now);
        match event {
            Event::Snapshot { registrations, .. } => {
                self.is_followed = true;
                self.reconcile(registrations, now)
            }
            Event::Joined(registration) | Event::Updated(registration)
                if self.is_usable(registration) =>
            {
                let mut removed = self.instances.members.remove_expired(now);
                removed.extend(self.instances.members.join(registration));
                removed
            }
            Event::Expired(registration) => {
                self.instances.members.expire(&registration.endpoint, now);
                self.instances.members.remove_expired(now)
            }
            Event::Joined(registration)
            | Event::Updated(registration)
            | Event::Left(registration) => {
                let gone = self.instances.members.leave(&registration.endpoint);
                gone.into_iter().collect()
            }
            // Events of an unknown kind are ignored. The next snapshot contains their effects.
            _ => Vec::new(),
        }
    }

    /// Records that no watch is live. The cache may become outdated until the next snapshot.
    pub(super) fn lost_watch(&mut self) {
        self.is_followed = false;
    }

    /// Treats the cache as up to date for a short time after a failed lookup.
    pub(super) fn trust_for_now(&mut self, now: Instant) {
        self.looked_up = Some(now);
    }

    /// Starts a lookup. Pass the returned value to [`looked_up`](Self::looked_up) together with the
    /// result of the lookup.
    pub(super) fn begin_lookup(&self) -> LookupStart {
        LookupStart(self.events)
    }

    /// Applies the result of a lookup, and returns the removed instances.
    pub(super) fn looked_up(
        &mut self,
        found: &[Arc<Registration>],
        start: LookupStart,
        now: Instant,
    ) -> Vec<Arc<Instance>> {
        self.heard = Some(now);
        // If the watch has reported events during the lookup, the events may be newer than the
        // result, so the result is ignored.
        if start != self.begin_lookup() {
            return Vec::new();
        }
        self.looked_up = Some(now);
        self.reconcile(found, now)
    }

    /// Applies a complete list of registrations. A listed instance that does not match the query is
    /// removed immediately.
    fn reconcile(&mut self, listed: &[Arc<Registration>], now: Instant) -> Vec<Arc<Instance>> {
        let (matching, others): (Vec<_>, Vec<_>) =
            (listed.iter().cloned()).partition(|registration| self.is_usable(registration));
        let others = others.iter();
        let mut removed: Vec<_> = others
            .filter_map(|registration| self.instances.members.leave(&registration.endpoint))
            .collect();
        removed.extend(self.instances.members.reconcile(&matching, now));
        removed
    }

    /// Returns whether calls may use an instance: it matches the query, and its endpoint means the
    /// same on this machine.
    fn is_usable(&self, registration: &Registration) -> bool {
        self.query.matches(registration) && registration.is_callable_here()
    }

    /// Returns whether calls can use the cache without a lookup. An empty cache always requires a
    /// lookup, because an instance may just have been registered.
    pub(super) fn is_trusted(&self, now: Instant) -> bool {
        let is_fresh = || {
            self.looked_up
                .is_some_and(|then| now < then + LOOKUP_VALIDITY)
        };
        let is_named = self.is_followed && self.instances.members.has_confirmed();
        is_named || (!self.instances.members.is_empty(now) && is_fresh())
    }

    /// Returns whether the watch has been silent for so long that a lookup should check the
    /// registry.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.is_followed && self.heard.is_none_or(|heard| heard + MAX_SILENCE <= now)
    }
}

/// The time for which the result of a lookup is treated as up to date.
const LOOKUP_VALIDITY: Duration = Duration::from_secs(1);

/// The time after which a lookup checks the registry if the watch is silent. A silent watch may
/// have lost its connection without noticing.
const MAX_SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use agentwire_transport::{Endpoint, internal::Backoff};
    use fastrand::Rng;

    use super::*;
    use crate::client::router::{
        balance::{Balance, Balancer},
        history::AttemptHistory,
        instances::Choice,
    };

    fn cache() -> Cache {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let balancer = Balancer::new(Balance::RoundRobin, Rng::with_seed(7));
        Cache::new(
            Query::new().version("<2"),
            Instances::new(balancer, backoff, Duration::from_secs(3)),
        )
    }

    fn agent(name: &str) -> Arc<Registration> {
        versioned(name, "1.0.0")
    }

    fn versioned(name: &str, version: &str) -> Arc<Registration> {
        let registration = Registration::new("agent", Endpoint::memory(name).unwrap());
        Arc::new(registration.with_version(version))
    }

    /// Returns the endpoints that may be called, or `None` if a lookup is required.
    fn known(cache: &mut Cache, now: Instant) -> Option<Vec<String>> {
        if !cache.is_trusted(now) {
            return None;
        }
        let chosen = (0..10).map(|_| {
            match cache
                .instances
                .choose(now, &AttemptHistory::default(), true)
            {
                Choice::Now(guard) => guard.instance().endpoint.to_string(),
                other => panic!("{other:?}"),
            }
        });
        let mut chosen: Vec<_> = chosen.collect();
        chosen.sort();
        chosen.dedup();
        Some(chosen)
    }

    #[test]
    fn without_a_view_a_lookup_is_needed() {
        let (mut cache, now) = (cache(), Instant::now());
        assert_eq!(known(&mut cache, now), None);
        cache.looked_up(&[agent("a")], cache.begin_lookup(), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
    }

    #[test]
    fn a_lookup_expires_until_the_watch_takes_over() {
        let (mut cache, now) = (cache(), Instant::now());
        let later = now + Duration::from_secs(1);
        cache.looked_up(&[agent("a")], cache.begin_lookup(), now);
        assert_eq!(known(&mut cache, later), None);
        cache.looked_up(&[agent("b")], cache.begin_lookup(), later);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://b"]);
        cache.apply(&Event::snapshot(vec![agent("c")], false), now);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(known(&mut cache, much_later).unwrap(), ["memory://c"]);
    }

    #[test]
    fn an_empty_view_is_not_trusted_without_a_lookup() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(Vec::new(), false), now);
        assert_eq!(known(&mut cache, now), None);
        cache.looked_up(&[], cache.begin_lookup(), now);
        assert_eq!(known(&mut cache, now), None);
        // A lookup finds a new instance before the watch reports the instance.
        cache.looked_up(&[agent("a")], cache.begin_lookup(), now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://a"]);
        cache.apply(&Event::Joined(agent("a")), now);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://a"]);
    }

    #[test]
    fn a_lookup_older_than_the_events_of_the_watch_changes_nothing() {
        let (mut cache, now) = (cache(), Instant::now());
        let asked = cache.begin_lookup();
        cache.apply(&Event::snapshot(vec![agent("a")], false), now);
        assert!(cache.looked_up(&[agent("b")], asked, now).is_empty());
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
        // An instance that left during the lookup is not added again.
        let asked = cache.begin_lookup();
        cache.apply(&Event::Left(agent("a")), now);
        cache.looked_up(&[agent("a")], asked, now);
        assert_eq!(known(&mut cache, now), None);
    }

    #[test]
    fn the_view_follows_the_events_of_the_watch() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(vec![agent("a"), agent("b")], false), now);
        cache.apply(&Event::Joined(agent("c")), now);
        cache.apply(&Event::Updated(agent("b")), now);
        let gone = cache.apply(&Event::Left(agent("a")), now);
        assert_eq!(gone.len(), 1);
        assert_eq!(
            known(&mut cache, now).unwrap(),
            ["memory://b", "memory://c"]
        );
        assert!(cache.apply(&Event::Expired(agent("a")), now).is_empty());
        // An expired instance is called only while the registry lists no other.
        assert!(cache.apply(&Event::Expired(agent("b")), now).is_empty());
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://c"]);
        cache.apply(&Event::snapshot(vec![agent("d")], true), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://d"]);
    }

    #[test]
    fn only_instances_that_match_the_query_are_called() {
        let (mut cache, now) = (cache(), Instant::now());
        let snapshot = vec![agent("a"), agent("b"), versioned("c", "2.0.0")];
        cache.apply(&Event::snapshot(snapshot, false), now);
        cache.apply(&Event::Joined(versioned("d", "2.0.0")), now);
        assert_eq!(
            known(&mut cache, now).unwrap(),
            ["memory://a", "memory://b"]
        );
        // An instance that stops matching the query is removed immediately.
        let removed = cache.apply(&Event::Updated(versioned("a", "2.0.0")), now);
        assert_eq!(removed.len(), 1);
        let listed = [versioned("b", "2.0.0"), agent("c")];
        let removed = cache.looked_up(&listed, cache.begin_lookup(), now);
        assert_eq!(removed.len(), 1);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://c"]);
    }

    #[test]
    fn a_registry_that_comes_back_empty_is_not_trusted_for_a_lease() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(vec![agent("a"), agent("b")], false), now);
        cache.apply(&Event::snapshot(Vec::new(), true), now);
        // An empty list does not prove that the instances have ended.
        assert_eq!(known(&mut cache, now), None);
        cache.looked_up(&[], cache.begin_lookup(), now);
        assert_eq!(
            known(&mut cache, now).unwrap(),
            ["memory://a", "memory://b"]
        );
        // One instance registers again, and the watch reports that the other instance has left.
        cache.apply(&Event::Joined(agent("a")), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
        cache.apply(&Event::snapshot(Vec::new(), true), now);
        assert!(cache.apply(&Event::Expired(agent("b")), now).is_empty());
        let later = now + Duration::from_secs(90);
        assert_eq!(cache.looked_up(&[], cache.begin_lookup(), later).len(), 2);
        assert_eq!(known(&mut cache, later), None);
    }

    #[test]
    fn a_watch_that_is_quiet_for_long_is_checked() {
        let (mut cache, now) = (cache(), Instant::now());
        let later = now + Duration::from_secs(60);
        assert!(!cache.is_silent(later), "there is none");
        cache.apply(&Event::snapshot(vec![agent("a")], false), now);
        assert!(!cache.is_silent(now) && cache.is_silent(later));
        cache.looked_up(&[agent("a")], cache.begin_lookup(), later);
        assert!(!cache.is_silent(later));
    }

    #[test]
    fn a_mass_expiry_is_believed_as_slowly_as_an_empty_registry() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(vec![agent("a"), agent("b")], false), now);
        for name in ["a", "b"] {
            assert!(cache.apply(&Event::Expired(agent(name)), now).is_empty());
        }
        cache.looked_up(&[], cache.begin_lookup(), now);
        let kept = ["memory://a", "memory://b"];
        assert_eq!(known(&mut cache, now).unwrap(), kept);
        cache.apply(&Event::Joined(agent("a")), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
    }

    #[test]
    fn instances_on_another_machine_are_not_called_here() {
        let (mut cache, now) = (cache(), Instant::now());
        let loopback = Registration::new("agent", "tcp://127.0.0.1:5555".parse().unwrap());
        let mut elsewhere = loopback.with_version("1.0.0");
        if elsewhere.machine.is_none() {
            return;
        }
        elsewhere.machine = Some("another machine".into());
        let listed = vec![agent("a"), Arc::new(elsewhere)];
        cache.apply(&Event::snapshot(listed, false), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
    }
}
