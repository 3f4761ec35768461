use std::{collections::HashSet, mem, sync::Arc, time::Duration};

use agentwire_registry::{Lease, Registration};
use agentwire_transport::{Endpoint, internal::Backoff};
use tokio::time::Instant;

use super::{
    balance::Balancer,
    health::{Health, Record, Since},
    member::{Member, Visit},
    task::Task,
    tried::{Came, Tried},
};

/// The instances of one agent: which of them there are, how they fare, and which is called next.
///
/// Those that the registry does not name any more, without a word of their end, are called only if there is nobody
/// else: it may have lost what it knew. They are forgotten after a lease, or at the first failure.
#[derive(Debug)]
pub(super) struct Instances {
    rows: Vec<Row>,
    balancer: Balancer,
    /// How long one is out that has failed.
    backoff: Backoff,
    /// How long it may take to reach one.
    connect_timeout: Duration,
    next_id: u64,
}

#[derive(Debug)]
struct Row {
    member: Arc<Member>,
    /// Tells one registration from its successor at the same endpoint.
    instance: String,
    health: Health,
    /// Since when the registry does not name it.
    missing: Option<Instant>,
    /// Tries whether it is back. Ends with the row.
    trial: Option<Task>,
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

impl Row {
    fn is_confirmed(&self) -> bool {
        self.missing.is_none()
    }

    /// The registry has not named it for so long that its lease must be over.
    fn is_over(&self, now: Instant) -> bool {
        self.missing
            .is_some_and(|since| since + Lease::DEFAULT_TIMEOUT <= now)
    }
}

impl Instances {
    pub(super) fn new(balancer: Balancer, backoff: Backoff, connect_timeout: Duration) -> Self {
        Self {
            rows: Vec::new(),
            balancer,
            backoff,
            connect_timeout,
            next_id: 0,
        }
    }

    /// How many there are that may be called.
    pub(super) fn len(&self, now: Instant) -> usize {
        self.rows.iter().filter(|row| !row.is_over(now)).count()
    }

    pub(super) fn is_empty(&self, now: Instant) -> bool {
        self.rows.iter().all(|row| row.is_over(now))
    }

    /// True if the registry names at least one.
    pub(super) fn has_confirmed(&self) -> bool {
        self.rows.iter().any(Row::is_confirmed)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.rows.iter().map(|row| &row.member)
    }

    /// Takes in an instance, or what has changed about one. A new process at a known endpoint has a clean record.
    pub(super) fn join(&mut self, registration: &Registration) {
        if let Some(row) = self
            .rows
            .iter_mut()
            .find(|row| row.member.endpoint == registration.endpoint)
        {
            row.missing = None;
            if row.instance != registration.instance {
                row.instance.clone_from(&registration.instance);
                row.health.renew();
                row.trial = None;
            }
            return;
        }
        if self.rows.len() >= MAX_INSTANCES {
            let Some(missing) = self.rows.iter().position(|row| !row.is_confirmed()) else {
                tracing::warn!(endpoint = %registration.endpoint, "too many instances; leaving one out");
                return;
            };
            self.rows.remove(missing);
        }
        let member = Member::new(self.next_id, registration.endpoint.clone());
        self.next_id += 1;
        self.rows.push(Row {
            member: Arc::new(member),
            instance: registration.instance.clone(),
            health: Health::new(self.backoff.clone()),
            missing: None,
            trial: None,
        });
    }

    /// Takes out the instance at that endpoint.
    pub(super) fn leave(&mut self, endpoint: &Endpoint) -> Option<Arc<Member>> {
        let at = |row: &Row| row.member.endpoint == *endpoint;
        let index = self.rows.iter().position(at)?;
        Some(self.rows.remove(index).member)
    }

    /// Takes in that the registry names those in `present` and no others, and gives out those that are over.
    pub(super) fn reconcile(
        &mut self,
        present: &[Arc<Registration>],
        now: Instant,
    ) -> Vec<Arc<Member>> {
        let endpoints: HashSet<&Endpoint> = present.iter().map(|one| &one.endpoint).collect();
        for row in &mut self.rows {
            if !endpoints.contains(&row.member.endpoint) {
                row.missing.get_or_insert(now);
            }
        }
        for registration in present {
            self.join(registration);
        }
        self.take_over(now)
    }

    /// Takes out those that the registry has not named for a lease.
    pub(super) fn take_over(&mut self, now: Instant) -> Vec<Arc<Member>> {
        if self.rows.iter().all(Row::is_confirmed) {
            return Vec::new();
        }
        let is_over = |row: &Row| row.is_over(now);
        let (gone, kept) = mem::take(&mut self.rows).into_iter().partition(is_over);
        self.rows = kept;
        let gone: Vec<Row> = gone;
        gone.into_iter().map(|row| row.member).collect()
    }

    /// Chooses an instance for a call that has been at those in `tried`, which are taken only if there is no other.
    /// Unless it may try `again`, those that it could not reach are out of the question, and there is no waiting.
    ///
    /// One that has failed is tried by a call only if there is no other to call.
    pub(super) fn choose(&mut self, now: Instant, tried: &Tried, again: bool) -> Choice {
        let may = |row: &Row| match tried.came(row.member.id) {
            _ if row.is_over(now) => false,
            None | Some(Came::Reached) => true,
            Some(Came::Unreached) => again,
            Some(Came::NoGood) => false,
        };
        let is_new = |row: &Row| may(row) && !tried.contains(row.member.id);
        let well = |row: &Row| row.health.is_well();
        let due = |row: &Row| row.health.is_due(now);
        let index = self
            .pick(|row| well(row) && row.is_confirmed() && is_new(row))
            .or_else(|| self.pick(|row| due(row) && row.is_confirmed() && is_new(row)))
            .or_else(|| self.pick(|row| well(row) && is_new(row)))
            .or_else(|| self.pick(|row| due(row) && is_new(row)))
            .or_else(|| self.pick(|row| well(row) && may(row)))
            .or_else(|| self.pick(|row| due(row) && may(row)));
        if let Some(index) = index {
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

    /// An instance that is to be tried beside the calls, which have others: is it back? What it does is to be kept
    /// as its [trial](Self::keep_trial).
    pub(super) fn begin_trial(&mut self, now: Instant) -> Option<(Arc<Member>, Arc<Record>)> {
        let is_due = |row: &&mut Row| row.health.is_due(now) && !row.is_over(now);
        let row = self.rows.iter_mut().find(is_due)?;
        row.health.begin_trial(now + self.connect_timeout);
        Some((Arc::clone(&row.member), Arc::clone(row.health.record())))
    }

    pub(super) fn keep_trial(&mut self, member: u64, trial: Task) {
        if let Some(row) = self.row(member) {
            row.trial = Some(trial);
        }
    }

    /// Tries no more whether any is back.
    pub(super) fn end_trials(&mut self) {
        self.rows.iter_mut().for_each(|row| row.trial = None);
    }

    /// True if there is an instance to call that is not among those in `tried`.
    pub(super) fn has_another(&self, now: Instant, tried: &Tried) -> bool {
        let is_available = |row: &Row| row.health.is_well() || row.health.is_due(now);
        let is_new = |row: &Row| !row.is_over(now) && !tried.contains(row.member.id);
        self.rows.iter().any(|row| is_available(row) && is_new(row))
    }

    /// That instance could not be reached, or is no good. Gives it out if it is gone for that.
    pub(super) fn failed(
        &mut self,
        member: u64,
        since: Since,
        now: Instant,
    ) -> Option<Arc<Member>> {
        self.judge(member, |health| health.failed(since, now))
    }

    /// A connection to it ended before an answer. Gives it out if it is gone for that.
    pub(super) fn broke(&mut self, member: u64, since: Since, now: Instant) -> Option<Arc<Member>> {
        self.judge(member, |health| health.broke(since, now))
    }

    /// A trial ended without an outcome.
    pub(super) fn give_up(&mut self, member: u64, since: Since, now: Instant) {
        if let Some(row) = self.row(member) {
            row.health.give_up(since, now);
        }
    }

    /// A connection to it has been made. True if it is back.
    pub(super) fn reached(&mut self, member: u64) -> bool {
        self.row(member).is_some_and(|row| row.health.reached())
    }

    /// It answered. True if it is back.
    pub(super) fn proved(&mut self, member: u64) -> bool {
        self.row(member).is_some_and(|row| row.health.proved())
    }

    fn judge(
        &mut self,
        member: u64,
        is_out: impl FnOnce(&mut Health) -> bool,
    ) -> Option<Arc<Member>> {
        let at = |row: &Row| row.member.id == member;
        let index = self.rows.iter().position(at)?;
        let row = &mut self.rows[index];
        let is_gone = is_out(&mut row.health) && !row.is_confirmed();
        is_gone.then(|| self.rows.remove(index).member)
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
        if !row.health.is_well() {
            row.health.begin_trial(now + self.connect_timeout);
        }
        let record = Arc::clone(row.health.record());
        Choice::Now(Visit::new(Arc::clone(&row.member), record))
    }

    fn row(&mut self, member: u64) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.member.id == member)
    }
}

/// As many as a registry has of one name, unless it is set otherwise.
const MAX_INSTANCES: usize = 1024;

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::client::discovery::Balance;

    fn instances(balance: Balance, names: &[&str]) -> Instances {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let balancer = Balancer::new(balance, Rng::with_seed(7));
        let mut instances = Instances::new(balancer, backoff, Duration::from_secs(3));
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

    /// That one fails, now.
    fn fail(instances: &mut Instances, member: u64, now: Instant) -> Option<Arc<Member>> {
        let row = instances.row(member).unwrap();
        let since = row.health.record().now();
        instances.failed(member, since, now)
    }

    #[test]
    fn one_that_fails_is_left_out_until_it_has_been_tried() {
        for balance in [Balance::RoundRobin, Balance::PowerOfTwoChoices] {
            let mut instances = instances(balance, &EACH);
            let now = Instant::now();
            assert!(instances.begin_trial(now).is_none());
            let failed = choose(&mut instances, now).unwrap();
            assert!(fail(&mut instances, failed.member().id, now).is_none());
            assert!(failed.is_outdated());
            let later = now + Duration::from_millis(100);
            for when in [now, later] {
                for _ in 0..20 {
                    let visit = choose(&mut instances, when).unwrap();
                    assert_ne!(at(&visit), at(&failed), "there are others");
                }
            }
            assert!(instances.begin_trial(now).is_none(), "not yet");
            let (tried, _) = instances.begin_trial(later).unwrap();
            assert_eq!(tried.id, failed.member().id);
            assert!(instances.begin_trial(later).is_none(), "it is under way");
            assert!(instances.reached(tried.id));
            assert!(!instances.reached(tried.id), "that is no news");
            let back = at(&failed);
            drop(failed);
            let mut visits = (0..40).map(|_| choose(&mut instances, later).unwrap());
            assert!(visits.any(|visit| at(&visit) == back));
        }
    }

    #[test]
    fn if_there_is_no_other_a_single_call_tries_one() {
        let mut instances = instances(Balance::RoundRobin, &["a"]);
        let now = Instant::now();
        fail(&mut instances, 0, now);
        assert!(choose(&mut instances, now).is_none());
        let later = now + Duration::from_millis(100);
        assert!(choose(&mut instances, later).is_some());
        for _ in 0..3 {
            assert!(choose(&mut instances, later).is_none());
        }
        assert!(instances.proved(0));
        assert!(choose(&mut instances, later).is_some());
    }

    #[test]
    fn when_all_are_out_the_first_to_be_back_is_waited_for() {
        let mut instances = instances(Balance::RoundRobin, &["a", "b"]);
        let now = Instant::now();
        let first = choose(&mut instances, now).unwrap();
        let second = choose(&mut instances, now).unwrap();
        fail(&mut instances, first.member().id, now);
        fail(
            &mut instances,
            second.member().id,
            now + Duration::from_secs(9),
        );
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
        for _ in 0..2 {
            let Choice::Now(visit) = instances.choose(now, &tried, true) else {
                panic!("both are well");
            };
            assert!(tried.add(visit.member().id, Came::Reached));
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
            fail(&mut instances, member, now);
        }
        let mut tried = Tried::default();
        for _ in 0..3 {
            let Choice::Now(visit) = instances.choose(now, &tried, false) else {
                panic!("one has not been tried");
            };
            assert!(tried.add(visit.member().id, Came::Unreached));
        }
        assert!(matches!(
            instances.choose(now, &tried, false),
            Choice::Nobody
        ));
    }

    #[test]
    fn one_that_is_no_good_is_not_waited_for_and_the_others_are() {
        let mut instances = instances(Balance::RoundRobin, &["a", "b"]);
        let now = Instant::now();
        fail(&mut instances, 0, now);
        fail(&mut instances, 1, now);
        let mut tried = Tried::default();
        tried.add(0, Came::NoGood);
        tried.add(1, Came::Unreached);
        let choice = instances.choose(now, &tried, true);
        assert!(matches!(choice, Choice::Wait(_)), "{choice:?}");
        tried.add(1, Came::NoGood);
        let choice = instances.choose(now, &tried, true);
        assert!(matches!(choice, Choice::Nobody), "{choice:?}");
    }

    /// Whom calls go to, now.
    fn called(instances: &mut Instances, now: Instant) -> Vec<String> {
        let mut called: Vec<_> = (0..20)
            .filter_map(|_| match instances.choose(now, &Tried::default(), true) {
                Choice::Now(visit) => Some(at(&visit)),
                _ => None,
            })
            .collect();
        called.sort();
        called.dedup();
        called
    }

    #[test]
    fn those_that_a_snapshot_does_not_name_are_called_only_if_there_is_nobody_else() {
        let mut instances = instances(Balance::RoundRobin, &EACH);
        let kept = instances.members().next().map(Arc::clone).unwrap();
        let now = Instant::now();
        let present = ["d", "a"].map(|name| Arc::new(registration(name)));
        assert!(instances.reconcile(&present, now).is_empty());
        assert_eq!(called(&mut instances, now), ["memory://a", "memory://d"]);
        assert!(instances.members().any(|member| Arc::ptr_eq(member, &kept)));

        assert!(instances.reconcile(&[], now).is_empty());
        assert!(!instances.has_confirmed());
        assert_eq!(called(&mut instances, now).len(), 4);
        // Who registers again is as good as before; who fails is gone.
        instances.join(&registration("b"));
        assert_eq!(called(&mut instances, now), ["memory://b"]);
        assert!(fail(&mut instances, 1, now).is_none());
        assert!(fail(&mut instances, 2, now).is_some());
        assert_eq!(instances.len(now), 3);

        let after = now + Lease::DEFAULT_TIMEOUT;
        assert_eq!(instances.len(after), 1);
        assert_eq!(instances.take_over(after).len(), 2);
        assert!(instances.leave(&endpoint("b")).is_some());
        assert!(instances.leave(&endpoint("b")).is_none());
        assert!(instances.is_empty(after));
        let choice = instances.choose(after, &Tried::default(), true);
        assert!(matches!(choice, Choice::Nobody));
    }

    #[test]
    fn a_successor_has_a_clean_record_and_the_same_again_has_not() {
        let mut instances = instances(Balance::RoundRobin, &["a"]);
        let now = Instant::now();
        fail(&mut instances, 0, now);
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
        let now = Instant::now();
        assert_eq!(instances.len(now), MAX_INSTANCES);
        // Those that the registry does not name make room.
        let new = Arc::new(registration("new"));
        instances.reconcile(&[Arc::clone(&new)], now);
        assert_eq!(instances.len(now), MAX_INSTANCES);
        assert_eq!(called(&mut instances, now), ["memory://new"]);
    }
}
