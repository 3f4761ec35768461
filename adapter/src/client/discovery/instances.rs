use std::{collections::HashSet, mem, sync::Arc};

use agentwire_registry::Registration;
use agentwire_transport::Endpoint;
use tokio::time::Instant;

use super::{
    balance::Balancer,
    health::Health,
    member::{Member, Visit},
    tried::Tried,
};
use crate::backoff::Backoff;

/// The instances of one agent: which of them there are, how they fare, and which is called next.
#[derive(Debug)]
pub(super) struct Instances {
    rows: Vec<Row>,
    balancer: Balancer,
    /// How long one is out that cannot be reached.
    backoff: Backoff,
    next_id: u64,
}

#[derive(Debug)]
struct Row {
    member: Arc<Member>,
    /// Tells one registration from its successor at the same endpoint.
    instance: String,
    health: Health,
}

/// Whom to call.
#[derive(Debug)]
pub(super) enum Choice {
    Now(Visit),
    /// Nobody before then, unless something changes.
    Wait(Instant),
    /// Nobody at all.
    Nobody,
}

impl Instances {
    pub(super) fn new(balancer: Balancer, backoff: Backoff) -> Self {
        Self {
            rows: Vec::new(),
            balancer,
            backoff,
            next_id: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.rows.iter().map(|row| &row.member)
    }

    /// Takes in an instance, or what has changed about one. A new process at a known endpoint has a clean record.
    pub(super) fn join(&mut self, registration: &Registration) {
        let health = || Health::new(self.backoff.clone());
        if let Some(row) = self
            .rows
            .iter_mut()
            .find(|row| row.member.endpoint == registration.endpoint)
        {
            if row.instance != registration.instance {
                row.instance.clone_from(&registration.instance);
                row.health = health();
            }
            return;
        }
        if self.rows.len() >= MAX_INSTANCES {
            tracing::warn!(endpoint = %registration.endpoint, "too many instances; leaving one out");
            return;
        }
        let member = Member::new(self.next_id, registration.endpoint.clone());
        self.next_id += 1;
        self.rows.push(Row {
            member: Arc::new(member),
            instance: registration.instance.clone(),
            health: health(),
        });
    }

    /// Takes out the instance at that endpoint.
    pub(super) fn leave(&mut self, endpoint: &Endpoint) -> Option<Arc<Member>> {
        let index = self
            .rows
            .iter()
            .position(|row| row.member.endpoint == *endpoint)?;
        Some(self.rows.remove(index).member)
    }

    /// Keeps those that are in `present`, takes in those that are new, and gives out the others.
    pub(super) fn reconcile(&mut self, present: &[Arc<Registration>]) -> Vec<Arc<Member>> {
        let endpoints: HashSet<&Endpoint> = present.iter().map(|one| &one.endpoint).collect();
        let is_present = |row: &Row| endpoints.contains(&row.member.endpoint);
        let (kept, gone) = mem::take(&mut self.rows).into_iter().partition(is_present);
        self.rows = kept;
        for registration in present {
            self.join(registration);
        }
        let gone: Vec<Row> = gone;
        gone.into_iter().map(|row| row.member).collect()
    }

    /// Chooses an instance for a call that has been at those in `tried`, which are taken only if there is no other.
    /// Unless it may try `again`, those that it could not reach are out of the question, and there is no waiting.
    pub(super) fn choose(&mut self, now: Instant, tried: &Tried, again: bool) -> Choice {
        let may = |row: &Row| again || !tried.is_unreachable(row.member.id);
        let is_available = |row: &Row| may(row) && row.health.is_available(now);
        let is_new = |row: &Row| is_available(row) && !tried.contains(row.member.id);
        if let Some(index) = self.pick(is_new).or_else(|| self.pick(is_available)) {
            return self.begin_call(index, now);
        }
        let rows = self.rows.iter().enumerate().filter(|(_, row)| may(row));
        match rows.min_by_key(|(_, row)| row.health.out_until()) {
            Some((_, row)) if again => Choice::Wait(row.health.out_until().unwrap_or(now)),
            // Somebody else could not reach it just now; this call has one try at each.
            Some((index, _)) => self.begin_call(index, now),
            None => Choice::Nobody,
        }
    }

    /// True if there is an instance to call that is not among those in `tried`.
    pub(super) fn has_another(&self, now: Instant, tried: &Tried) -> bool {
        let is_new = |row: &Row| row.health.is_available(now) && !tried.contains(row.member.id);
        self.rows.iter().any(is_new)
    }

    /// That instance could not be reached.
    pub(super) fn failed(&mut self, member: u64, now: Instant) {
        if let Some(row) = self.row(member) {
            row.health.failed(now);
        }
    }

    /// That instance was reached. True if that is news.
    pub(super) fn proved(&mut self, member: u64) -> bool {
        self.row(member).is_some_and(|row| row.health.proved())
    }

    /// One of those rows that will do.
    fn pick(&mut self, will_do: impl Fn(&Row) -> bool) -> Option<usize> {
        let rows = &self.rows;
        let nth = |n: usize| {
            let fitting = rows.iter().enumerate().filter(|(_, row)| will_do(row));
            fitting.map(|(index, _)| index).nth(n)
        };
        let count = rows.iter().filter(|row| will_do(row)).count();
        let in_flight = |n| nth(n).map_or(0, |index| rows[index].member.in_flight());
        nth(self.balancer.pick(count, in_flight)?)
    }

    fn begin_call(&mut self, index: usize, now: Instant) -> Choice {
        let row = &mut self.rows[index];
        let is_trial = row.health.is_suspect();
        row.health.begin_call(now);
        Choice::Now(Visit::new(Arc::clone(&row.member), is_trial))
    }

    fn row(&mut self, member: u64) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.member.id == member)
    }
}

/// As many as a registry has of one name, unless it is set otherwise.
const MAX_INSTANCES: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fastrand::Rng;

    use super::*;
    use crate::client::discovery::Balance;

    fn instances(balance: Balance, names: &[&str]) -> Instances {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut instances = Instances::new(Balancer::new(balance, Rng::with_seed(7)), backoff);
        for name in names {
            instances.join(&registration(name));
        }
        instances
    }

    /// An instance at an endpoint of that name, and with that id.
    fn registration(name: &str) -> Registration {
        Registration::new("agent", endpoint(name)).with_instance(name)
    }

    fn endpoint(name: &str) -> Endpoint {
        Endpoint::memory(name).unwrap()
    }

    /// Chooses for a call that has been nowhere; `None` if it is to wait.
    fn choose(instances: &mut Instances, now: Instant) -> Option<Visit> {
        match instances.choose(now, &Tried::default(), true) {
            Choice::Now(visit) => Some(visit),
            Choice::Wait(until) => {
                assert!(until > now);
                None
            }
            Choice::Nobody => panic!("there are instances"),
        }
    }

    fn at(visit: &Visit) -> String {
        visit.member().endpoint.to_string()
    }

    const EACH: [&str; 3] = ["a", "b", "c"];

    #[test]
    fn calls_go_to_each_in_turn() {
        let mut instances = instances(Balance::RoundRobin, &EACH);
        let now = Instant::now();
        let mut chosen: Vec<_> = (0..3)
            .map(|_| at(&choose(&mut instances, now).unwrap()))
            .collect();
        chosen.sort();
        assert_eq!(chosen, ["memory://a", "memory://b", "memory://c"]);
    }

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

    #[test]
    fn one_that_fails_is_left_out_until_a_call_tries_it() {
        for balance in [Balance::RoundRobin, Balance::PowerOfTwoChoices] {
            let mut instances = instances(balance, &EACH);
            let now = Instant::now();
            let failed = choose(&mut instances, now).unwrap();
            instances.failed(failed.member().id, now);
            for _ in 0..20 {
                let visit = choose(&mut instances, now).unwrap();
                assert_ne!(at(&visit), at(&failed));
                assert!(!visit.is_trial);
            }
            let later = now + Duration::from_millis(100);
            let mut visits: Vec<_> = (0..20)
                .map(|_| choose(&mut instances, later).unwrap())
                .collect();
            visits.retain(|visit| visit.is_trial);
            assert_eq!(visits.len(), 1, "only one call tries it");
            assert_eq!(at(&visits[0]), at(&failed));
            assert!(instances.proved(failed.member().id));
            assert!(!instances.proved(failed.member().id));
        }
    }

    #[test]
    fn when_all_are_out_the_first_to_be_back_is_waited_for() {
        let mut instances = instances(Balance::RoundRobin, &["a", "b"]);
        let now = Instant::now();
        let first = choose(&mut instances, now).unwrap();
        let second = choose(&mut instances, now).unwrap();
        instances.failed(first.member().id, now);
        instances.failed(second.member().id, now + Duration::from_secs(9));
        match instances.choose(now, &Tried::default(), true) {
            Choice::Wait(until) => assert!(until <= now + Duration::from_millis(100)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_goes_where_it_has_not_been_if_it_can() {
        let mut instances = instances(Balance::RoundRobin, &["a", "b"]);
        let now = Instant::now();
        let mut tried = Tried::default();
        for expected in [false, true] {
            let Choice::Now(visit) = instances.choose(now, &tried, true) else {
                panic!("both are well");
            };
            assert!(!tried.contains(visit.member().id));
            assert_eq!(!tried.is_empty(), expected);
            tried.add(visit.member().id, false);
        }
        assert!(
            matches!(instances.choose(now, &tried, true), Choice::Now(_)),
            "back to where it has been"
        );
    }

    #[test]
    fn a_call_without_retries_has_one_try_at_each_and_does_not_wait() {
        let mut instances = instances(Balance::RoundRobin, &EACH);
        let now = Instant::now();
        for member in 0..3 {
            instances.failed(member, now);
        }
        let mut tried = Tried::default();
        for _ in 0..3 {
            let Choice::Now(visit) = instances.choose(now, &tried, false) else {
                panic!("one has not been tried");
            };
            assert!(tried.add(visit.member().id, true));
        }
        assert!(matches!(
            instances.choose(now, &tried, false),
            Choice::Nobody
        ));
    }

    #[test]
    fn a_snapshot_keeps_takes_in_and_gives_out() {
        let mut instances = instances(Balance::RoundRobin, &EACH);
        let kept = instances.members().next().map(Arc::clone).unwrap();
        let present = ["d", "a"].map(|name| Arc::new(registration(name)));
        let gone = instances.reconcile(&present);
        let gone: Vec<_> = gone.iter().map(|member| &member.endpoint).collect();
        assert_eq!(gone, [&endpoint("b"), &endpoint("c")]);
        assert_eq!(instances.len(), 2);
        assert!(instances.members().any(|member| Arc::ptr_eq(member, &kept)));
        assert!(instances.leave(&endpoint("a")).is_some());
        assert!(instances.leave(&endpoint("a")).is_none());
        assert!(instances.leave(&endpoint("d")).is_some());
        assert!(instances.is_empty());
        let now = Instant::now();
        let choice = instances.choose(now, &Tried::default(), true);
        assert!(matches!(choice, Choice::Nobody));
    }

    #[test]
    fn a_successor_has_a_clean_record_and_the_same_again_has_not() {
        let mut instances = instances(Balance::RoundRobin, &["a"]);
        let now = Instant::now();
        instances.failed(0, now);
        instances.join(&registration("a"));
        assert!(choose(&mut instances, now).is_none());
        instances.join(&registration("a").with_instance("another"));
        assert!(choose(&mut instances, now).is_some());
    }

    #[test]
    fn there_is_a_limit() {
        let mut instances = instances(Balance::RoundRobin, &[]);
        for number in 0..=MAX_INSTANCES {
            instances.join(&registration(&number.to_string()));
        }
        assert_eq!(instances.len(), MAX_INSTANCES);
    }
}
