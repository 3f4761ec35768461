use std::{sync::Arc, time::Duration};

use agentwire_registry::{Event, Registration};
use tokio::time::Instant;

use super::{
    instances::{Choice, Instances},
    member::Member,
    tried::Tried,
};

/// What a client knows of the registry: the instances of one name, and how far that is to be trusted.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) instances: Instances,
    knowledge: Knowledge,
    /// How many events have been taken in.
    events: u64,
}

/// What was known when the registry was asked, to tell whether the answer is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AskedAfter(u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    Nothing,
    /// The registry was asked once, then.
    LookedUp(Instant),
    /// A watch tells what happens.
    Followed,
}

impl Cache {
    pub(super) fn new(instances: Instances) -> Self {
        Self {
            instances,
            knowledge: Knowledge::Nothing,
            events: 0,
        }
    }

    /// Chooses an instance. `None` if the registry is to be asked first.
    pub(super) fn choose(&mut self, now: Instant, tried: &Tried, again: bool) -> Option<Choice> {
        self.is_trusted(now)
            .then(|| self.instances.choose(now, tried, again))
    }

    /// Takes in what the watch tells, and gives out the instances that are gone.
    pub(super) fn apply(&mut self, event: &Event) -> Vec<Arc<Member>> {
        self.events += 1;
        match event {
            Event::Snapshot { registrations, .. } => {
                self.knowledge = Knowledge::Followed;
                self.instances.reconcile(registrations)
            }
            Event::Joined(registration) | Event::Updated(registration) => {
                self.instances.join(registration);
                Vec::new()
            }
            Event::Left(registration) | Event::Expired(registration) => {
                let gone = self.instances.leave(&registration.endpoint);
                gone.into_iter().collect()
            }
            // Whatever it may be, the next snapshot has it, too.
            _ => Vec::new(),
        }
    }

    /// Nobody watches any more: what is known grows old from now on.
    pub(super) fn lost_watch(&mut self) {
        self.knowledge = Knowledge::Nothing;
    }

    /// Goes by what is known for a while, because there is nothing better.
    pub(super) fn trust_for_now(&mut self, now: Instant) {
        self.knowledge = Knowledge::LookedUp(now);
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
        // What the watch has told meanwhile may be younger than the answer; what it tells from now on is.
        if asked != self.ask() {
            return Vec::new();
        }
        if self.knowledge != Knowledge::Followed {
            self.knowledge = Knowledge::LookedUp(now);
        }
        self.instances.reconcile(found)
    }

    /// True if what is known will do. That there are none is never believed without asking: somebody may have registered just now.
    pub(super) fn is_trusted(&self, now: Instant) -> bool {
        let is_known = match self.knowledge {
            Knowledge::Nothing => false,
            Knowledge::LookedUp(then) => now < then + LOOKUP_HOLDS,
            Knowledge::Followed => true,
        };
        is_known && !self.instances.is_empty()
    }
}

/// How long the answer to a lookup is good for. The watch is about to tell more.
const LOOKUP_HOLDS: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use agentwire_transport::Endpoint;
    use fastrand::Rng;

    use super::*;
    use crate::{
        backoff::Backoff,
        client::discovery::{Balance, balance::Balancer},
    };

    fn cache() -> Cache {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let balancer = Balancer::new(Balance::RoundRobin, Rng::with_seed(7));
        Cache::new(Instances::new(balancer, backoff))
    }

    fn agent(name: &str) -> Arc<Registration> {
        Arc::new(Registration::new("agent", Endpoint::memory(name).unwrap()))
    }

    /// The endpoints that may be called; `None` if the registry is to be asked.
    fn known(cache: &mut Cache, now: Instant) -> Option<Vec<String>> {
        cache.choose(now, &Tried::default(), true)?;
        let members = cache.instances.members();
        Some(members.map(|member| member.endpoint.to_string()).collect())
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
        let gone = cache.looked_up(&[agent("b")], cache.ask(), later);
        assert_eq!(gone.len(), 1);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://b"]);
        cache.apply(&Event::snapshot(vec![agent("c")], false));
        let much_later = later + Duration::from_secs(3600);
        assert_eq!(known(&mut cache, much_later).unwrap(), ["memory://c"]);
    }

    #[test]
    fn that_there_are_none_is_not_believed_without_asking() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(Vec::new(), false));
        assert_eq!(known(&mut cache, now), None);
        cache.looked_up(&[], cache.ask(), now);
        assert_eq!(known(&mut cache, now), None);
        // Whoever registered just now is found before the watch tells, which then goes on to tell.
        cache.looked_up(&[agent("a")], cache.ask(), now);
        let later = now + Duration::from_secs(3600);
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://a"]);
        cache.apply(&Event::Joined(agent("a")));
        assert_eq!(known(&mut cache, later).unwrap(), ["memory://a"]);
    }

    #[test]
    fn an_answer_that_the_watch_has_overtaken_changes_nothing() {
        let (mut cache, now) = (cache(), Instant::now());
        let asked = cache.ask();
        cache.apply(&Event::snapshot(vec![agent("a")], false));
        assert!(cache.looked_up(&[agent("b")], asked, now).is_empty());
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://a"]);
        // Nor does one that saw an instance which has left meanwhile.
        let asked = cache.ask();
        cache.apply(&Event::Left(agent("a")));
        cache.looked_up(&[agent("a")], asked, now);
        assert_eq!(known(&mut cache, now), None);
    }

    #[test]
    fn what_the_watch_tells_is_followed() {
        let (mut cache, now) = (cache(), Instant::now());
        cache.apply(&Event::snapshot(vec![agent("a"), agent("b")], false));
        cache.apply(&Event::Joined(agent("c")));
        cache.apply(&Event::Updated(agent("b")));
        let gone = cache.apply(&Event::Left(agent("a")));
        assert_eq!(gone.len(), 1);
        assert_eq!(
            known(&mut cache, now).unwrap(),
            ["memory://b", "memory://c"]
        );
        assert!(cache.apply(&Event::Expired(agent("a"))).is_empty());
        assert_eq!(cache.apply(&Event::Expired(agent("b"))).len(), 1);
        let gone = cache.apply(&Event::snapshot(vec![agent("d")], true));
        assert_eq!(gone.len(), 1);
        assert_eq!(known(&mut cache, now).unwrap(), ["memory://d"]);
    }
}
