use std::{sync::Arc, time::Duration};

use agentwire_registry::{Event, Registration};
use tokio::time::Instant;

use super::{instances::Instances, member::Member};

/// What a client knows of the registry: the instances of one name, and how far that is to be trusted.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) instances: Instances,
    /// A watch tells what happens.
    is_followed: bool,
    /// When the registry was asked last, or given up on.
    looked_up: Option<Instant>,
    /// When the registry last said anything.
    heard: Option<Instant>,
    /// How many events have been taken in.
    events: u64,
}

/// What was known when the registry was asked, to tell whether the answer is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AskedAfter(u64);

impl Cache {
    pub(super) fn new(instances: Instances) -> Self {
        Self {
            instances,
            is_followed: false,
            looked_up: None,
            heard: None,
            events: 0,
        }
    }

    /// Takes in what the watch tells, and gives out the instances that are gone.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) -> Vec<Arc<Member>> {
        self.events += 1;
        self.heard = Some(now);
        match event {
            Event::Snapshot { registrations, .. } => {
                self.is_followed = true;
                self.instances.reconcile(registrations, now)
            }
            Event::Joined(registration) | Event::Updated(registration) => {
                self.instances.join(registration);
                self.instances.take_over(now)
            }
            Event::Left(registration) | Event::Expired(registration) => {
                let gone = self.instances.leave(&registration.endpoint);
                gone.into_iter().collect()
            }
            // Whatever it may be, the next snapshot has it, too.
            _ => Vec::new(),
        }
    }

    /// Nobody watches, until the next snapshot: what is known grows old from now on.
    pub(super) fn lost_watch(&mut self) {
        self.is_followed = false;
    }

    /// Goes by what is known for a while, because there is nothing better.
    pub(super) fn trust_for_now(&mut self, now: Instant) {
        self.looked_up = Some(now);
    }

    /// To be called before the registry is asked.
    pub(super) fn ask(&self) -> AskedAfter {
        AskedAfter(self.events)
    }

    /// Takes in what the registry answered, and gives out the instances that are gone.
    pub(super) fn looked_up(
        &mut self,
        found: &[Arc<Registration>],
        asked: AskedAfter,
        now: Instant,
    ) -> Vec<Arc<Member>> {
        self.heard = Some(now);
        // What the watch has told meanwhile may be younger than the answer; what it tells from now on is.
        if asked != self.ask() {
            return Vec::new();
        }
        self.looked_up = Some(now);
        self.instances.reconcile(found, now)
    }

    /// True if what is known will do. That there are none is never believed without asking: somebody may have registered
    /// just now.
    pub(super) fn is_trusted(&self, now: Instant) -> bool {
        let is_fresh = || self.looked_up.is_some_and(|then| now < then + LOOKUP_HOLDS);
        let is_named = self.is_followed && self.instances.has_confirmed();
        is_named || (!self.instances.is_empty(now) && is_fresh())
    }

    /// True if a watch has told nothing for so long that the registry is to be asked whether that is so.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.is_followed && self.heard.is_none_or(|heard| heard + SILENCE <= now)
    }
}

/// How long the answer to a lookup is good for. The watch is about to tell more.
const LOOKUP_HOLDS: Duration = Duration::from_secs(1);

/// How long a watch may tell nothing: it may have been cut off without a sign.
const SILENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use agentwire_transport::{Endpoint, internal::Backoff};
    use fastrand::Rng;

    use super::*;
    use crate::client::discovery::{Balance, balance::Balancer, instances::Choice, tried::Tried};

    fn cache() -> Cache {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let balancer = Balancer::new(Balance::RoundRobin, Rng::with_seed(7));
        Cache::new(Instances::new(balancer, backoff, Duration::from_secs(3)))
    }

    fn agent(name: &str) -> Arc<Registration> {
        Arc::new(Registration::new("agent", Endpoint::memory(name).unwrap()))
    }

    /// The endpoints that may be called; `None` if the registry is to be asked.
    fn known(cache: &mut Cache, now: Instant) -> Option<Vec<String>> {
        if !cache.is_trusted(now) {
            return None;
        }
        let chosen = (0..10).map(
            |_| match cache.instances.choose(now, &Tried::default(), true) {
                Choice::Now(visit) => visit.member().endpoint.to_string(),
                other => panic!("{other:?}"),
            },
        );
        let mut chosen: Vec<_> = chosen.collect();
        chosen.sort();
        chosen.dedup();
        Some(chosen)
    }

    #[test]
    fn before_anything_is_known_the_registry_is_asked() {
        let (mut cache, now) = (cache(), Instant::now());
        assert_eq!(known(&mut cache, now), None);
        cache.looked_up(&[agent("a")], cache.ask(), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
    }

    #[test]
    fn an_answer_grows_old_until_the_watch_takes_over() {
        let (mut cache, now) = (cache(), Instant::now());
        let later = now + Duration::from_secs(1);
        cache.looked_up(&[agent("a")], cache.ask(), now);
        assert_eq!(known(&mut cache, later), None);
        cache.looked_up(&[agent("b")], cache.ask(), later);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://b"]);
        cache.apply(&Event::snapshot(vec![agent("c")], false), now);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(known(&mut cache, much_later).unwrap(), ["memory://c"]);
    }

    #[test]
    fn that_there_are_none_is_not_believed_without_asking() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(Vec::new(), false), now);
        assert_eq!(known(&mut cache, now), None);
        cache.looked_up(&[], cache.ask(), now);
        assert_eq!(known(&mut cache, now), None);
        // Whoever registered just now is found before the watch tells, which then goes on to tell.
        cache.looked_up(&[agent("a")], cache.ask(), now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://a"]);
        cache.apply(&Event::Joined(agent("a")), now);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://a"]);
    }

    #[test]
    fn an_answer_that_the_watch_has_overtaken_changes_nothing() {
        let (mut cache, now) = (cache(), Instant::now());
        let asked = cache.ask();
        cache.apply(&Event::snapshot(vec![agent("a")], false), now);
        assert!(cache.looked_up(&[agent("b")], asked, now).is_empty());
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
        // Nor does one that saw an instance which has left meanwhile.
        let asked = cache.ask();
        cache.apply(&Event::Left(agent("a")), now);
        cache.looked_up(&[agent("a")], asked, now);
        assert_eq!(known(&mut cache, now), None);
    }

    #[test]
    fn what_the_watch_tells_is_followed() {
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
        assert_eq!(cache.apply(&Event::Expired(agent("b")), now).len(), 1);
        cache.apply(&Event::snapshot(vec![agent("d")], true), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://d"]);
    }

    #[test]
    fn a_registry_that_comes_back_empty_is_not_believed_for_a_lease() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(vec![agent("a"), agent("b")], false), now);
        cache.apply(&Event::snapshot(Vec::new(), true), now);
        // It is asked first; that it names nobody now is no word of their end.
        assert_eq!(known(&mut cache, now), None);
        cache.looked_up(&[], cache.ask(), now);
        assert_eq!(
            known(&mut cache, now).unwrap(),
            ["memory://a", "memory://b"]
        );
        // One is back, the other is told to have gone.
        cache.apply(&Event::Joined(agent("a")), now);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
        cache.apply(&Event::snapshot(Vec::new(), true), now);
        assert_eq!(cache.apply(&Event::Expired(agent("b")), now).len(), 1);
        let later = now + Duration::from_secs(90);
        assert_eq!(cache.looked_up(&[], cache.ask(), later).len(), 1);
        assert_eq!(known(&mut cache, later), None);
    }

    #[test]
    fn a_watch_that_tells_nothing_for_long_is_checked() {
        let (mut cache, now) = (cache(), Instant::now());
        let later = now + Duration::from_secs(60);
        assert!(!cache.is_silent(later), "there is none");
        cache.apply(&Event::snapshot(vec![agent("a")], false), now);
        assert!(!cache.is_silent(now) && cache.is_silent(later));
        cache.looked_up(&[agent("a")], cache.ask(), later);
        assert!(!cache.is_silent(later));
    }
}
