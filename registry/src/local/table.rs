use std::{
    collections::{BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use tokio::time::Instant;

use super::{entry::Entry, expiries::Expiries, instances::Instances, moment::Moment};
use crate::{
    Event, InstanceRef, LimitKind, Query, Registration, RegistryConfig, RegistryError, check_name,
};

/// What is registered. It is told the time and does no I/O; what others must hear of is put into `events`.
#[derive(Debug)]
pub(super) struct Table {
    config: RegistryConfig,
    names: HashMap<String, Instances>,
    /// The same names, in order.
    ordered: BTreeSet<String>,
    len: usize,
    /// About how many bytes all of them take.
    weight: usize,
    expiries: Expiries,
    next_id: u64,
}

impl Table {
    pub(super) fn new(config: RegistryConfig) -> Self {
        Self {
            config,
            names: HashMap::new(),
            ordered: BTreeSet::new(),
            len: 0,
            weight: 0,
            expiries: Expiries::default(),
            next_id: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an agent in whose registration was checked and weighed by itself.
    pub(super) fn register(
        &mut self,
        registration: Registration,
        weight: usize,
        now: Moment,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        if let Some(known) = self.at(&registration) {
            if !known.is_live(now.at) {
                self.expire(&known, events);
            } else if known.registration.is_same_offer(&registration) {
                known.heartbeat(now);
                return Ok(());
            }
        }
        self.make_room(&registration, weight, now, events)?;
        let registration = Arc::new(registration.registered(now.wall));
        self.next_id += 1;
        let lease = self.config.offered_lease().timeout();
        let entry = Entry::new(
            self.next_id,
            Arc::clone(&registration),
            weight,
            lease,
            now.at,
        );
        let entry = Arc::new(entry);
        self.weight += weight;
        self.expiries.insert(Arc::clone(&entry));
        if !self.names.contains_key(&registration.name) {
            self.ordered.insert(registration.name.clone());
        }
        let instances = self.names.entry(registration.name.clone()).or_default();
        if let Some(replaced) = instances.insert(entry) {
            self.expiries.remove(&replaced);
            self.weight -= replaced.weight;
            events.push(Event::Updated(registration));
        } else {
            self.len += 1;
            events.push(Event::Joined(registration));
        }
        Ok(())
    }

    /// Takes an agent out, if it is there.
    pub(super) fn unregister(
        &mut self,
        which: &InstanceRef,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        if let Some(entry) = self.resolve(which, now)?.map(Arc::clone) {
            if is_meant(&entry, which) {
                self.remove(&entry);
                events.push(Event::Left(Arc::clone(&entry.registration)));
            }
        }
        Ok(())
    }

    /// Renews a lease. Others may read, and do the same, meanwhile.
    pub(super) fn heartbeat(&self, which: &InstanceRef, now: Moment) -> Result<(), RegistryError> {
        match self.resolve(which, now.at)? {
            Some(entry) if is_meant(entry, which) => {
                entry.heartbeat(now);
                Ok(())
            }
            Some(entry) => Err(RegistryError::Replaced {
                name: which.name.clone(),
                endpoint: entry.registration.endpoint.clone(),
            }),
            None => Err(RegistryError::NotRegistered {
                name: which.name.clone(),
                endpoint: which.endpoint.clone(),
            }),
        }
    }

    /// All live instances of a name, in order.
    pub(super) fn lookup(&self, name: &str, now: Instant) -> Vec<Arc<Registration>> {
        let instances = self.names.get(name).into_iter();
        let live = instances.flat_map(|instances| instances.live(now));
        live.map(|entry| Arc::clone(&entry.registration)).collect()
    }

    /// All that is live, in any order.
    pub(super) fn all(&self, now: Instant) -> Vec<Arc<Registration>> {
        let mut all = Vec::with_capacity(self.len);
        let live = self.names.values().flat_map(|names| names.live(now));
        all.extend(live.map(|entry| Arc::clone(&entry.registration)));
        all
    }

    /// All live instances of the names behind `name`, in order, of as many names as it takes to have `count`.
    pub(super) fn behind(
        &self,
        name: Option<&str>,
        count: usize,
        now: Instant,
    ) -> Vec<Arc<Registration>> {
        let first = name.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for name in self.ordered.range::<str, _>((first, Bound::Unbounded)) {
            if found.len() >= count {
                break;
            }
            found.extend(self.lookup(name, now));
        }
        found
    }

    /// All that may match a query, in any order.
    pub(super) fn candidates(&self, query: &Query, now: Instant) -> Vec<Arc<Registration>> {
        match query.only_name() {
            Some(name) => self.lookup(name, now),
            None => self.all(now),
        }
    }

    /// Looks at up to `limit` entries whose time may have come, and removes those that are not alive. Tells when
    /// to look again, if there is anything.
    pub(super) fn sweep(
        &mut self,
        now: Instant,
        limit: usize,
        events: &mut Vec<Event>,
    ) -> Option<Instant> {
        for _ in 0..limit {
            let Some(entry) = self.expiries.pop(now) else {
                break;
            };
            if entry.is_live(now) {
                self.expiries.insert(entry);
            } else {
                self.expire(&entry, events);
            }
        }
        self.expiries.next()
    }

    /// True if a sweep has something to do.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.expiries.next().is_some_and(|next| next <= now)
    }

    fn expire(&mut self, entry: &Entry, events: &mut Vec<Event>) {
        self.remove(entry);
        events.push(Event::Expired(Arc::clone(&entry.registration)));
    }

    fn remove(&mut self, entry: &Entry) {
        self.expiries.remove(entry);
        let name = &entry.registration.name;
        if let Some(instances) = self.names.get_mut(name) {
            instances.remove(entry);
            self.len -= 1;
            self.weight -= entry.weight;
            if instances.is_empty() {
                self.names.remove(name);
                self.ordered.remove(name);
            }
        }
    }

    /// Who has the same name and endpoint, alive or not.
    fn at(&self, registration: &Registration) -> Option<Arc<Entry>> {
        let instances = self.names.get(&registration.name)?;
        instances.at(&registration.endpoint).map(Arc::clone)
    }

    /// Checks that this is allowed, in the place of the one with the same name and endpoint, or as one more. Those
    /// whose lease is over do not count.
    fn make_room(
        &mut self,
        registration: &Registration,
        weight: usize,
        now: Moment,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        let replaced = self.at(registration).map(|entry| entry.weight);
        if replaced.is_none() {
            self.make_place(registration, now, events)?;
        }
        let added = weight.saturating_sub(replaced.unwrap_or_default());
        let max = self.config.total_size_limit();
        if self.weight + added > max {
            self.sweep(now.at, usize::MAX, events);
        }
        if self.weight + added > max {
            let of = LimitKind::Bytes;
            return Err(RegistryError::Full { max, of });
        }
        Ok(())
    }

    /// Checks that there may be one more, whatever its size.
    fn make_place(
        &mut self,
        registration: &Registration,
        now: Moment,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        let name = &registration.name;
        let max = self.config.instance_limit();
        if let Some(instances) = self.names.get(name) {
            let mut live = instances.live(now.at);
            if let Some(first) = live.next().filter(|_| self.config.refuses_duplicates()) {
                return Err(RegistryError::Duplicate {
                    name: name.clone(),
                    endpoint: first.registration.endpoint.clone(),
                });
            }
            if instances.len() >= max {
                drop(live);
                self.sweep(now.at, usize::MAX, events);
            }
        }
        if self.names.get(name).is_some_and(|all| all.len() >= max) {
            let name = name.clone();
            return Err(RegistryError::TooManyInstances { name, max });
        }
        let max = self.config.registration_limit();
        if self.len >= max {
            self.sweep(now.at, usize::MAX, events);
        }
        if self.len >= max {
            let of = LimitKind::Registrations;
            return Err(RegistryError::Full { max, of });
        }
        Ok(())
    }

    /// The live entry that is meant. At an endpoint that was named it may have another instance id.
    fn resolve(
        &self,
        which: &InstanceRef,
        now: Instant,
    ) -> Result<Option<&Arc<Entry>>, RegistryError> {
        check_name(&which.name)?;
        let Some(instances) = self.names.get(&which.name) else {
            return Ok(None);
        };
        if let Some(endpoint) = &which.endpoint {
            return Ok(instances.at(endpoint).filter(|entry| entry.is_live(now)));
        }
        let mut meant = instances.live(now).filter(|entry| is_meant(entry, which));
        let only = meant.next();
        match meant.count() {
            0 => Ok(only),
            others => Err(RegistryError::Ambiguous {
                name: which.name.clone(),
                instances: 1 + others,
            }),
        }
    }
}

/// True unless another instance is meant.
fn is_meant(entry: &Entry, which: &InstanceRef) -> bool {
    let instance = which.instance.as_ref();
    instance.is_none_or(|instance| *instance == entry.registration.instance)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentwire_codec::Timestamp;
    use agentwire_transport::Endpoint;

    use super::*;

    const LEASE: Duration = Duration::from_secs(90);

    struct Clock {
        start: Instant,
        table: Table,
        events: Vec<Event>,
    }

    /// A table, the time being so many seconds after its beginning.
    impl Clock {
        fn new(config: RegistryConfig) -> Self {
            Self {
                start: Instant::now(),
                table: Table::new(config.lease(LEASE)),
                events: Vec::new(),
            }
        }

        fn at(&self, seconds: u64) -> Moment {
            Moment {
                at: self.start + Duration::from_secs(seconds),
                wall: Timestamp::now(),
            }
        }

        fn register(&mut self, seconds: u64, registration: &Registration) {
            let now = self.at(seconds);
            self.try_register(now, registration).unwrap();
        }

        fn try_register(
            &mut self,
            now: Moment,
            registration: &Registration,
        ) -> Result<(), RegistryError> {
            let weight = registration.weight();
            let (registration, events) = (registration.clone(), &mut self.events);
            self.table.register(registration, weight, now, events)
        }

        fn heartbeat(&self, seconds: u64, which: &Registration) -> Result<(), RegistryError> {
            self.table.heartbeat(&which.into(), self.at(seconds))
        }

        fn sweep(&mut self, seconds: u64) -> Option<u64> {
            let now = self.at(seconds).at;
            let next = self.table.sweep(now, usize::MAX, &mut self.events);
            next.map(|next| next.duration_since(self.start).as_secs())
        }

        fn names(&self, seconds: u64) -> Vec<String> {
            let all = self.table.all(self.at(seconds).at);
            let mut names: Vec<_> = all.iter().map(|found| found.name.clone()).collect();
            names.sort_unstable();
            names
        }

        /// What has happened since the last look: the first letter of the event and the name.
        fn happened(&mut self) -> String {
            let told = self.events.drain(..).map(|event| {
                let kind = format!("{event:?}");
                let name = event.registration().map(|about| about.name.clone());
                format!("{}:{}", &kind[..1], name.unwrap_or_default())
            });
            told.collect::<Vec<_>>().join(" ")
        }
    }

    fn agent(name: &str) -> Registration {
        Registration::new(name, Endpoint::memory(format!("at {name}")).unwrap())
    }

    #[test]
    fn what_is_over_is_not_given_out_before_any_sweep() {
        let mut clock = Clock::new(RegistryConfig::new());
        let weather = agent("weather");
        clock.register(0, &weather);
        assert_eq!(clock.names(89), ["weather"]);
        assert!(clock.names(90).is_empty());
        assert!(clock.table.lookup("weather", clock.at(90).at).is_empty());
        assert!(
            clock
                .heartbeat(90, &weather)
                .unwrap_err()
                .is_not_registered()
        );
        let which = InstanceRef::from(&weather);
        let now = clock.at(90).at;
        clock
            .table
            .unregister(&which, now, &mut clock.events)
            .unwrap();
        assert_eq!(clock.happened(), "J:weather");
    }

    #[test]
    fn the_queue_looks_again_at_what_has_lived() {
        let mut clock = Clock::new(RegistryConfig::new());
        let (a, b) = (agent("a"), agent("b"));
        clock.register(0, &a);
        clock.register(10, &b);
        clock.heartbeat(60, &a).unwrap();
        assert_eq!(clock.sweep(89), Some(90));
        assert_eq!(clock.sweep(95), Some(100), "a lived and is due at 150");
        assert_eq!(clock.sweep(100), Some(150));
        assert_eq!(clock.happened(), "J:a J:b E:b");
        assert_eq!(clock.sweep(149), Some(150));
        assert_eq!(clock.sweep(150), None);
        assert_eq!(clock.happened(), "E:a");
        assert!(clock.table.is_empty() && clock.table.names.is_empty());
    }

    #[test]
    fn heartbeats_that_overtake_each_other_shorten_no_lease() {
        let mut clock = Clock::new(RegistryConfig::new());
        let a = agent("a");
        clock.register(0, &a);
        clock.heartbeat(50, &a).unwrap();
        clock.heartbeat(40, &a).unwrap();
        assert_eq!(clock.names(139), ["a"]);
    }

    #[test]
    fn registering_what_is_over_and_not_swept_is_an_end_and_a_beginning() {
        let mut clock = Clock::new(RegistryConfig::new());
        let weather = agent("weather");
        clock.register(0, &weather);
        clock.register(100, &weather);
        assert_eq!(clock.happened(), "J:weather E:weather J:weather");
        assert_eq!(clock.names(189), ["weather"]);
        assert_eq!(clock.sweep(189), Some(190));
    }

    #[test]
    fn the_same_registration_again_is_a_heartbeat() {
        let mut clock = Clock::new(RegistryConfig::new());
        let weather = agent("weather");
        clock.register(0, &weather);
        clock.register(80, &weather);
        assert_eq!(clock.happened(), "J:weather");
        assert_eq!(clock.names(169), ["weather"]);
        clock.register(100, &weather.clone().with_metadata("zone", "b"));
        assert_eq!(clock.happened(), "U:weather");
        assert_eq!(clock.names(189), ["weather"]);
    }

    #[test]
    fn nothing_is_left_in_the_queue_of_what_came_and_went() {
        let mut clock = Clock::new(RegistryConfig::new());
        for round in 0..1000 {
            let weather = agent("weather");
            clock.register(round, &weather);
            clock.register(round, &weather.clone().with_metadata("round", round));
            let now = clock.at(round).at;
            let which = InstanceRef::from(&weather);
            clock
                .table
                .unregister(&which, now, &mut clock.events)
                .unwrap();
        }
        assert_eq!(clock.table.expiries.len(), 0);
        assert!(clock.table.is_empty() && clock.table.names.is_empty());
    }

    #[test]
    fn what_is_over_takes_no_room() {
        let config = RegistryConfig::new().max_registrations(2).max_instances(1);
        let mut clock = Clock::new(config);
        clock.register(0, &agent("a"));
        clock.register(0, &agent("b"));
        // Full by count, and one of them by its name at another endpoint.
        let elsewhere = Registration::new("a", Endpoint::memory("elsewhere").unwrap());
        clock.register(90, &elsewhere);
        assert_eq!(clock.names(90), ["a"]);
        assert_eq!(clock.happened(), "J:a J:b E:a E:b J:a");
    }

    #[test]
    fn what_is_too_much_in_all_is_refused_until_something_is_over() {
        let sized = |name: &str, len: usize| agent(name).with_metadata("text", "x".repeat(len));
        let max = agent("a").weight() + 2 * sized("a", 10_000).weight() + 100;
        let mut clock = Clock::new(RegistryConfig::new().max_total_size(max));
        clock.register(0, &sized("a", 10_000));
        clock.register(50, &sized("b", 10_000));
        let refused = |clock: &mut Clock, seconds, registration: &Registration| {
            let error = clock.try_register(clock.at(seconds), registration);
            let of = LimitKind::Bytes;
            match error.unwrap_err() {
                RegistryError::Full {
                    max: told,
                    of: what,
                } => assert_eq!((told, what), (max, of)),
                other => panic!("{other:?}"),
            }
        };
        refused(&mut clock, 60, &sized("c", 10_000));
        // Nor by growing. What is there stays as it was.
        refused(&mut clock, 60, &sized("b", 20_000));
        assert_eq!(clock.names(60), ["a", "b"]);
        // In the place of another, only what is more counts.
        clock.register(60, &sized("b", 10_001));
        clock.register(60, &agent("c"));
        clock.register(90, &sized("d", 10_000));
        assert_eq!(clock.names(90), ["b", "c", "d"]);
        for (name, len) in [("b", 10_001), ("d", 10_000)] {
            let which = InstanceRef::new(name);
            let now = clock.at(91).at;
            clock
                .table
                .unregister(&which, now, &mut clock.events)
                .unwrap();
            assert!(clock.table.weight < max - len);
        }
        assert_eq!(clock.sweep(200), None);
        assert_eq!(clock.table.weight, 0);
    }

    #[test]
    fn a_sweep_stops_at_its_limit_and_says_that_there_is_more() {
        let mut clock = Clock::new(RegistryConfig::new());
        for number in 0..10 {
            clock.register(0, &agent(&format!("agent {number}")));
        }
        let now = clock.at(90).at;
        let next = clock.table.sweep(now, 4, &mut clock.events);
        assert_eq!(next, Some(now), "there is more to do at once");
        assert_eq!(clock.table.len, 6);
        assert_eq!(clock.sweep(90), None);
    }
}
