//! The registrations of a [`LocalRegistry`](super::LocalRegistry). This module does not perform
//! I/O.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    claims::{check_claim, matches_instance, owned},
    entry::Entry,
    index::Index,
    now::Now,
};
use crate::{
    Event, InstanceRef, LimitKind, Registration, RegistryConfig, RegistryError,
    backend::RegistrationExt, check_name,
};

/// The table of registrations. The caller passes the current time as an argument, and sends the
/// events that a change appends to `events`.
#[derive(Debug)]
pub(super) struct Table {
    config: RegistryConfig,
    index: Index,
    next_id: u64,
}

impl Table {
    pub(super) fn new(config: RegistryConfig) -> Self {
        Self {
            config,
            index: Index::default(),
            next_id: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Registers an agent. The caller must have checked and measured the registration.
    pub(super) fn register(
        &mut self,
        mut registration: Registration,
        size: usize,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        if let Some(known) = self.index.get(&registration) {
            if !known.is_live(now.instant) {
                self.expire(&known, events);
            } else if !registration.claim().covers(known.claim()) {
                let protected = known.protected_for(now.instant);
                if !protected.is_zero() {
                    return Err(owned(&known, protected));
                }
            } else if known.registration.is_same_offer(&registration)
                && known.has_owner(registration.owner.as_ref())
            {
                known.heartbeat(now);
                return Ok(());
            }
        }
        self.check_capacity(&registration, size, now, events)?;
        let owner = registration.owner.take();
        let registration = Arc::new(registration.with_registered_at(now.wall));
        self.next_id += 1;
        let lease = self.config.lease.timeout();
        let entry = Entry::new(
            self.next_id,
            Arc::clone(&registration),
            owner,
            size,
            lease,
            now.instant,
        );
        let event = if self.index.insert(Arc::new(entry)) {
            Event::Updated(registration)
        } else {
            Event::Joined(registration)
        };
        events.push(event);
        Ok(())
    }

    /// Unregisters an agent if it is registered. Fails if the agent belongs to another instance.
    pub(super) fn unregister(
        &mut self,
        which: &InstanceRef,
        now: Instant,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        if let Some(entry) = self.resolve(which, now)?.map(Arc::clone) {
            if matches_instance(&entry, which) {
                check_claim(&entry, which, now)?;
                self.index.remove(&entry);
                events.push(Event::Left(Arc::clone(&entry.registration)));
            }
        }
        Ok(())
    }

    /// Renews a lease. The method takes `&self`, so heartbeats can run concurrently with lookups
    /// and other heartbeats.
    pub(super) fn heartbeat(&self, which: &InstanceRef, now: Now) -> Result<(), RegistryError> {
        match self.resolve(which, now.instant)? {
            Some(entry) if matches_instance(entry, which) => {
                check_claim(entry, which, now.instant)?;
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

    /// Returns the entries.
    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    /// Checks up to `limit` due entries and removes expired entries. Returns the time of the next
    /// check, or `None` if the table is empty.
    pub(super) fn sweep(
        &mut self,
        now: Instant,
        limit: usize,
        events: &mut Vec<Event>,
    ) -> Option<Instant> {
        for _ in 0..limit {
            let Some(entry) = self.index.pop_due(now) else {
                break;
            };
            if entry.is_live(now) {
                self.index.queue(entry);
            } else {
                self.expire(&entry, events);
            }
        }
        self.index.next_check()
    }

    /// Returns whether the check of any entry is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.index.next_check().is_some_and(|next| next <= now)
    }

    fn expire(&mut self, entry: &Entry, events: &mut Vec<Event>) {
        self.index.remove(entry);
        events.push(Event::Expired(Arc::clone(&entry.registration)));
    }

    /// Checks that there is capacity for a registration, which may replace an existing entry. If a
    /// limit is reached, expired entries are removed first.
    fn check_capacity(
        &mut self,
        registration: &Registration,
        size: usize,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        let replaced = self.index.get(registration).map(|entry| entry.size);
        if replaced.is_none() {
            self.check_counts(registration, now, events)?;
        }
        let added = size.saturating_sub(replaced.unwrap_or_default());
        let max = self.config.max_total_size;
        if self.index.size() + added > max {
            self.sweep(now.instant, usize::MAX, events);
        }
        if self.index.size() + added > max {
            let of = LimitKind::Bytes;
            return Err(RegistryError::Full { max, of });
        }
        Ok(())
    }

    /// Checks the limits on the number of registrations and instances.
    fn check_counts(
        &mut self,
        registration: &Registration,
        now: Now,
        events: &mut Vec<Event>,
    ) -> Result<(), RegistryError> {
        let name = &registration.name;
        let max = self.config.max_instances;
        if let Some(instances) = self.index.instances(name) {
            let mut live = instances.live(now.instant);
            if let Some(first) = live.next().filter(|_| self.config.refuses_duplicates()) {
                return Err(RegistryError::Duplicate {
                    name: name.clone(),
                    endpoint: first.registration.endpoint.clone(),
                });
            }
            if instances.len() >= max {
                drop(live);
                self.sweep(now.instant, usize::MAX, events);
            }
        }
        if self
            .index
            .instances(name)
            .is_some_and(|all| all.len() >= max)
        {
            let name = name.clone();
            return Err(RegistryError::TooManyInstances { name, max });
        }
        let max = self.config.max_registrations;
        if self.index.len() >= max {
            self.sweep(now.instant, usize::MAX, events);
        }
        if self.index.len() >= max {
            let of = LimitKind::Registrations;
            return Err(RegistryError::Full { max, of });
        }
        Ok(())
    }

    /// Returns the live entry for a reference. If the reference contains an endpoint, the entry may
    /// have a different instance id.
    fn resolve(
        &self,
        which: &InstanceRef,
        now: Instant,
    ) -> Result<Option<&Arc<Entry>>, RegistryError> {
        check_name(&which.name)?;
        let Some(instances) = self.index.instances(&which.name) else {
            return Ok(None);
        };
        if let Some(endpoint) = &which.endpoint {
            return Ok(instances.get(endpoint).filter(|entry| entry.is_live(now)));
        }
        let mut matching = instances
            .live(now)
            .filter(|entry| matches_instance(entry, which));
        let first = matching.next();
        match matching.count() {
            0 => Ok(first),
            others => Err(RegistryError::Ambiguous {
                name: which.name.clone(),
                instances: 1 + others,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentwire_codec::Timestamp;
    use agentwire_transport::Endpoint;

    use super::*;

    const LEASE: Duration = Duration::from_secs(90);

    /// A table for tests. Times are given in seconds since the creation of the table.
    struct Clock {
        start: Instant,
        table: Table,
        events: Vec<Event>,
    }

    impl Clock {
        fn new(config: RegistryConfig) -> Self {
            Self {
                start: Instant::now(),
                table: Table::new(config.lease(LEASE)),
                events: Vec::new(),
            }
        }

        fn at(&self, seconds: u64) -> Now {
            Now {
                instant: self.start + Duration::from_secs(seconds),
                wall: Timestamp::now(),
            }
        }

        fn register(&mut self, seconds: u64, registration: &Registration) {
            let now = self.at(seconds);
            self.try_register(now, registration).unwrap();
        }

        fn try_register(
            &mut self,
            now: Now,
            registration: &Registration,
        ) -> Result<(), RegistryError> {
            let size = registration.approximate_size();
            let (registration, events) = (registration.clone(), &mut self.events);
            self.table.register(registration, size, now, events)
        }

        fn heartbeat(&self, seconds: u64, which: &Registration) -> Result<(), RegistryError> {
            self.table.heartbeat(&which.into(), self.at(seconds))
        }

        fn sweep(&mut self, seconds: u64) -> Option<u64> {
            let now = self.at(seconds).instant;
            let next = self.table.sweep(now, usize::MAX, &mut self.events);
            next.map(|next| next.duration_since(self.start).as_secs())
        }

        fn names(&self, seconds: u64) -> Vec<String> {
            let all = self.table.index().all(self.at(seconds).instant);
            let mut names: Vec<_> = all.iter().map(|found| found.name.clone()).collect();
            names.sort_unstable();
            names
        }

        /// Returns the new events. Each event is represented by the first letter of its kind,
        /// followed by the name.
        fn take_events(&mut self) -> String {
            let events = self.events.drain(..).map(|event| {
                let kind = format!("{event:?}");
                let name = event.registration().map(|one| one.name.clone());
                format!("{}:{}", &kind[..1], name.unwrap_or_default())
            });
            events.collect::<Vec<_>>().join(" ")
        }
    }

    fn agent(name: &str) -> Registration {
        Registration::new(name, Endpoint::memory(format!("at {name}")).unwrap()).with_instance("")
    }

    #[test]
    fn an_expired_registration_is_not_returned_before_it_is_swept() {
        let mut clock = Clock::new(RegistryConfig::new());
        let weather = agent("weather");
        clock.register(0, &weather);
        assert_eq!(clock.names(89), ["weather"]);
        assert!(clock.names(90).is_empty());
        assert!(
            clock
                .table
                .index()
                .lookup("weather", clock.at(90).instant)
                .is_empty()
        );
        assert!(
            clock
                .heartbeat(90, &weather)
                .unwrap_err()
                .is_not_registered()
        );
        let which = InstanceRef::from(&weather);
        let now = clock.at(90).instant;
        clock
            .table
            .unregister(&which, now, &mut clock.events)
            .unwrap();
        assert_eq!(clock.take_events(), "J:weather");
    }

    #[test]
    fn a_renewed_entry_is_queued_again() {
        let mut clock = Clock::new(RegistryConfig::new());
        let (a, b) = (agent("a"), agent("b"));
        clock.register(0, &a);
        clock.register(10, &b);
        clock.heartbeat(60, &a).unwrap();
        assert_eq!(clock.sweep(89), Some(90));
        assert_eq!(
            clock.sweep(95),
            Some(100),
            "a was renewed and is due at 150"
        );
        assert_eq!(clock.sweep(100), Some(150));
        assert_eq!(clock.take_events(), "J:a J:b E:b");
        assert_eq!(clock.sweep(149), Some(150));
        assert_eq!(clock.sweep(150), None);
        assert_eq!(clock.take_events(), "E:a");
        assert!(clock.table.index().is_clean());
    }

    #[test]
    fn a_late_heartbeat_does_not_shorten_the_lease() {
        let mut clock = Clock::new(RegistryConfig::new());
        let a = agent("a");
        clock.register(0, &a);
        clock.heartbeat(50, &a).unwrap();
        clock.heartbeat(40, &a).unwrap();
        assert_eq!(clock.names(139), ["a"]);
    }

    #[test]
    fn registering_an_expired_agent_again_reports_expiry_and_join() {
        let mut clock = Clock::new(RegistryConfig::new());
        let weather = agent("weather");
        clock.register(0, &weather);
        clock.register(100, &weather);
        assert_eq!(clock.take_events(), "J:weather E:weather J:weather");
        assert_eq!(clock.names(189), ["weather"]);
        assert_eq!(clock.sweep(189), Some(190));
    }

    #[test]
    fn the_same_registration_again_acts_as_a_heartbeat() {
        let mut clock = Clock::new(RegistryConfig::new());
        let weather = agent("weather");
        clock.register(0, &weather);
        clock.register(80, &weather);
        assert_eq!(clock.take_events(), "J:weather");
        assert_eq!(clock.names(169), ["weather"]);
        clock.register(100, &weather.clone().with_metadata("zone", "b"));
        assert_eq!(clock.take_events(), "U:weather");
        assert_eq!(clock.names(189), ["weather"]);
    }

    #[test]
    fn unregistered_agents_leave_nothing_in_the_queue() {
        let mut clock = Clock::new(RegistryConfig::new());
        for round in 0..1000 {
            let weather = agent("weather");
            clock.register(round, &weather);
            clock.register(round, &weather.clone().with_metadata("round", round));
            let now = clock.at(round).instant;
            let which = InstanceRef::from(&weather);
            clock
                .table
                .unregister(&which, now, &mut clock.events)
                .unwrap();
        }
        assert!(clock.table.index().is_clean());
    }

    #[test]
    fn expired_registrations_do_not_count_against_limits() {
        let config = RegistryConfig::new().max_registrations(2).max_instances(1);
        let mut clock = Clock::new(config);
        clock.register(0, &agent("a"));
        clock.register(0, &agent("b"));
        // The registry has reached its limit on registrations, and the name has reached its limit
        // on instances.
        let elsewhere = Registration::new("a", Endpoint::memory("elsewhere").unwrap());
        clock.register(90, &elsewhere);
        assert_eq!(clock.names(90), ["a"]);
        assert_eq!(clock.take_events(), "J:a J:b E:a E:b J:a");
    }

    #[test]
    fn the_memory_limit_refuses_until_something_expires() {
        let sized = |name: &str, len: usize| agent(name).with_metadata("text", "x".repeat(len));
        let max = agent("a").approximate_size() + 2 * sized("a", 10_000).approximate_size() + 100;
        let mut clock = Clock::new(RegistryConfig::new().max_total_size(max));
        clock.register(0, &sized("a", 10_000));
        clock.register(50, &sized("b", 10_000));
        let refused = |clock: &mut Clock, seconds, registration: &Registration| {
            let error = clock.try_register(clock.at(seconds), registration);
            let of = LimitKind::Bytes;
            match error.unwrap_err() {
                RegistryError::Full {
                    max: reported,
                    of: kind,
                } => assert_eq!((reported, kind), (max, of)),
                other => panic!("{other:?}"),
            }
        };
        refused(&mut clock, 60, &sized("c", 10_000));
        // If an update is too large, the update is refused and has no effect.
        refused(&mut clock, 60, &sized("b", 20_000));
        assert_eq!(clock.names(60), ["a", "b"]);
        // Only the additional size of an update is counted.
        clock.register(60, &sized("b", 10_001));
        clock.register(60, &agent("c"));
        clock.register(90, &sized("d", 10_000));
        assert_eq!(clock.names(90), ["b", "c", "d"]);
        for (name, len) in [("b", 10_001), ("d", 10_000)] {
            let which = InstanceRef::new(name);
            let now = clock.at(91).instant;
            clock
                .table
                .unregister(&which, now, &mut clock.events)
                .unwrap();
            assert!(clock.table.index().size() < max - len);
        }
        assert_eq!(clock.sweep(200), None);
        assert_eq!(clock.table.index().size(), 0);
    }

    #[test]
    fn a_sweep_stops_at_its_limit_and_reports_that_there_is_more() {
        let mut clock = Clock::new(RegistryConfig::new());
        for number in 0..10 {
            clock.register(0, &agent(&format!("agent {number}")));
        }
        let now = clock.at(90).instant;
        let next = clock.table.sweep(now, 4, &mut clock.events);
        assert_eq!(next, Some(now), "the next batch is due at once");
        assert_eq!(clock.table.index().len(), 6);
        assert_eq!(clock.sweep(90), None);
    }
}
