//! Quotas: how many registrations and watches one connection and one peer may hold.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use agentwire_registry::{Lease, QuotaKind, Registration, RegistryError};
use agentwire_transport::{
    Endpoint, Peer, PeerAddr,
    internal::{LogLimit, Mutex},
};
use tokio::time::Instant;

use crate::server::{Caller, ConnectionId, PeerKey};

/// The numbers of registrations and watches that one connection and one peer may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct QuotaLimits {
    pub(super) registrations_per_connection: usize,
    pub(super) registrations_per_peer: PeerLimit,
    pub(super) watches_per_connection: usize,
    pub(super) watches_per_peer: PeerLimit,
}

/// The limit for one peer.
#[derive(Debug, Clone, Copy)]
pub(super) enum PeerLimit {
    /// The default, which does not apply to peers inside this process.
    Default(usize),
    /// A limit that the user has set, which applies to all peers.
    Set(usize),
}

impl PeerLimit {
    fn for_peer(self, peer: &Peer) -> usize {
        match self {
            Self::Default(_) if matches!(peer.address(), PeerAddr::Memory(_)) => usize::MAX,
            Self::Default(limit) | Self::Set(limit) => limit,
        }
    }
}

/// Counts the registrations and watches of connections and peers, and enforces the quotas.
///
/// The lifetime of a registration follows the answers of the served registry: a registration counts
/// until it is unregistered, or until its lease has passed without a heartbeat through this server.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: QuotaLimits,
    table: Mutex<Table>,
    /// Peers choose names and endpoints. The keys of the hashes are random, so that peers cannot
    /// construct collisions.
    hasher: RandomState,
    refusals: LogLimit,
}

#[derive(Debug, Default)]
struct Table {
    /// The number of registrations or watches of each holder. Holders without any have no entry.
    counts: HashMap<(Resource, Holder), usize>,
    registrations: BTreeMap<Key, Counted>,
    last_sweep: Option<Instant>,
}

/// The hashes of the name and the endpoint of a registration. Hashes take less memory than texts.
type Key = (u64, u64);

/// A registration that counts towards the quotas of its holders.
#[derive(Debug)]
struct Counted {
    holders: [Holder; 2],
    lease: Duration,
    /// When the registration was made or last renewed.
    since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Resource {
    Registrations,
    Watches,
}

/// What has a quota.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    Connection(ConnectionId),
    Peer(PeerKey),
}

impl Holder {
    fn of(caller: &Caller) -> [Self; 2] {
        let peer = Self::Peer(PeerKey::of(&caller.peer));
        [Self::Connection(caller.connection), peer]
    }
}

/// A place for a registration that is being made. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    quotas: &'a Quotas,
    key: Key,
    holders: [Holder; 2],
    /// Whether each holder's count includes the place. It does not if the registration replaces one
    /// of the same holder.
    is_counted: [bool; 2],
}

/// A place for a watch. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct WatchPlace {
    quotas: Arc<Quotas>,
    holders: [Holder; 2],
}

impl Quotas {
    pub(super) fn new(limits: QuotaLimits) -> Self {
        Self {
            limits,
            table: Mutex::default(),
            hasher: RandomState::new(),
            refusals: LogLimit::new(),
        }
    }

    /// Reserves a place for a registration.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::QuotaReached`].
    pub(super) fn reserve(
        &self,
        caller: &Caller,
        registration: &Registration,
    ) -> Result<Reservation<'_>, RegistryError> {
        let key = self.key(&registration.name, &registration.endpoint);
        let holders = Holder::of(caller);
        let limits = [
            (
                QuotaKind::RegistrationsPerConnection,
                self.limits.registrations_per_connection,
            ),
            (
                QuotaKind::RegistrationsPerPeer,
                self.limits.registrations_per_peer.for_peer(&caller.peer),
            ),
        ];
        let now = Instant::now();
        let mut table = self.table.lock();
        let known = table.registrations.get(&key);
        let is_held = |holder| known.is_some_and(|known| known.holders.contains(holder));
        let is_counted = [!is_held(&holders[0]), !is_held(&holders[1])];
        for ((holder, is_counted), (of, max)) in holders.iter().zip(is_counted).zip(limits) {
            if is_counted && !table.has_room(Resource::Registrations, holder, max, now) {
                drop(table);
                return Err(self.refuse(caller, of, max));
            }
        }
        for (holder, is_counted) in holders.iter().zip(is_counted) {
            if is_counted {
                table.add(Resource::Registrations, holder);
            }
        }
        Ok(Reservation {
            quotas: self,
            key,
            holders,
            is_counted,
        })
    }

    /// Reserves a place for a watch.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::QuotaReached`].
    pub(super) fn reserve_watch(
        self: &Arc<Self>,
        caller: &Caller,
    ) -> Result<WatchPlace, RegistryError> {
        let holders = Holder::of(caller);
        let limits = [
            (
                QuotaKind::WatchesPerConnection,
                self.limits.watches_per_connection,
            ),
            (
                QuotaKind::WatchesPerPeer,
                self.limits.watches_per_peer.for_peer(&caller.peer),
            ),
        ];
        let mut table = self.table.lock();
        for (holder, (of, max)) in holders.iter().zip(limits) {
            if table.count(Resource::Watches, holder) >= max {
                drop(table);
                return Err(self.refuse(caller, of, max));
            }
        }
        for holder in &holders {
            table.add(Resource::Watches, holder);
        }
        Ok(WatchPlace {
            quotas: Arc::clone(self),
            holders,
        })
    }

    /// Records a heartbeat for an endpoint.
    pub(super) fn renew(&self, name: &str, endpoint: &Endpoint) {
        let key = self.key(name, endpoint);
        if let Some(known) = self.table.lock().registrations.get_mut(&key) {
            known.since = Instant::now();
        }
    }

    /// Returns whether any registration of the name counts towards a quota.
    pub(super) fn counts_any(&self, name: &str) -> bool {
        let name = self.hasher.hash_one(name);
        let table = self.table.lock();
        table.registrations.range(all_of(name)).next().is_some()
    }

    /// Renews the registrations of a name that exist, and frees the places of the others. `live`
    /// was read from the registry after the time `read_at`.
    pub(super) fn reconcile(&self, name: &str, live: &[Arc<Registration>], read_at: Instant) {
        let live: Vec<_> = live
            .iter()
            .map(|one| self.hasher.hash_one(&one.endpoint))
            .collect();
        let mut table = self.table.lock();
        let mut gone = Vec::new();
        for (key, known) in table
            .registrations
            .range_mut(all_of(self.hasher.hash_one(name)))
        {
            if live.contains(&key.1) {
                known.since = known.since.max(read_at);
            } else if known.since < read_at {
                gone.push(*key);
            }
        }
        for key in gone {
            table.remove(key);
        }
    }

    fn key(&self, name: &str, endpoint: &Endpoint) -> Key {
        (self.hasher.hash_one(name), self.hasher.hash_one(endpoint))
    }

    fn refuse(&self, caller: &Caller, of: QuotaKind, max: usize) -> RegistryError {
        if let Some(count) = self.refusals.record(Instant::now()) {
            let peer = &caller.peer;
            tracing::warn!(%peer, max, %of, count, "request refused: the peer has reached its quota");
        }
        RegistryError::QuotaReached { max, of }
    }
}

impl Reservation<'_> {
    /// Counts the registration, which the registry has accepted, until its lease has passed.
    pub(super) fn keep(mut self, lease: Lease) {
        let mut table = self.quotas.table.lock();
        table.remove(self.key);
        for (holder, is_counted) in self.holders.iter().zip(&mut self.is_counted) {
            if !std::mem::take(is_counted) {
                table.add(Resource::Registrations, holder);
            }
        }
        let counted = Counted {
            holders: self.holders.clone(),
            lease: lease.timeout(),
            since: Instant::now(),
        };
        table.registrations.insert(self.key, counted);
        table.sweep_if_grown(Instant::now());
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        for (holder, is_counted) in self.holders.iter().zip(self.is_counted) {
            if is_counted {
                let mut table = self.quotas.table.lock();
                table.subtract(Resource::Registrations, holder);
            }
        }
    }
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        let mut table = self.quotas.table.lock();
        for holder in &self.holders {
            table.subtract(Resource::Watches, holder);
        }
    }
}

impl Table {
    fn count(&self, resource: Resource, holder: &Holder) -> usize {
        let count = self.counts.get(&(resource, holder.clone()));
        count.copied().unwrap_or_default()
    }

    /// Returns whether a holder has fewer than `max` registrations, without those that have
    /// expired.
    fn has_room(&mut self, resource: Resource, holder: &Holder, max: usize, now: Instant) -> bool {
        if self.count(resource, holder) < max {
            return true;
        }
        self.sweep(now);
        self.count(resource, holder) < max
    }

    fn add(&mut self, resource: Resource, holder: &Holder) {
        *self.counts.entry((resource, holder.clone())).or_default() += 1;
    }

    fn subtract(&mut self, resource: Resource, holder: &Holder) {
        let place = (resource, holder.clone());
        if let Some(count) = self.counts.get_mut(&place) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&place);
            }
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(known) = self.registrations.remove(&key) {
            for holder in &known.holders {
                self.subtract(Resource::Registrations, holder);
            }
        }
    }

    /// Removes expired registrations. A large table is swept at most once a second, because each
    /// refused request may ask for a sweep.
    fn sweep(&mut self, now: Instant) {
        let is_large = self.registrations.len() > CHEAP_SWEEP;
        let is_early = self.last_sweep.is_some_and(|last| now < last + MIN_PAUSE);
        if is_large && is_early {
            return;
        }
        self.last_sweep = Some(now);
        let expired: Vec<Key> = self
            .registrations
            .iter()
            .filter(|(_, known)| known.since + known.lease <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in expired {
            self.remove(key);
        }
    }

    /// Removes expired registrations now and then, so that the table holds few of them.
    fn sweep_if_grown(&mut self, now: Instant) {
        let pause = |last: Instant| now < last + MAX_PAUSE;
        if !self.last_sweep.is_some_and(pause) {
            self.sweep(now);
        }
    }
}

fn all_of(name: u64) -> std::ops::RangeInclusive<Key> {
    (name, 0)..=(name, u64::MAX)
}

/// The number of registrations up to which a sweep is cheap.
const CHEAP_SWEEP: usize = 2048;
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(per_connection: usize, per_peer: usize) -> Arc<Quotas> {
        Arc::new(Quotas::new(QuotaLimits {
            registrations_per_connection: per_connection,
            registrations_per_peer: PeerLimit::Default(per_peer),
            watches_per_connection: per_connection,
            watches_per_peer: PeerLimit::Default(per_peer),
        }))
    }

    fn caller(address: &str) -> Caller {
        let address: std::net::SocketAddr = address.parse().unwrap();
        Caller::new(address.into())
    }

    fn agent(number: u16) -> Registration {
        Registration::new("weather", Endpoint::tcp("host", number + 1).unwrap())
    }

    /// Registers the agents in `numbers` until one is refused, and returns how many were accepted
    /// and which quota was reached.
    fn register(
        quotas: &Quotas,
        caller: &Caller,
        numbers: std::ops::Range<u16>,
    ) -> (usize, Option<QuotaKind>) {
        for (done, number) in numbers.clone().enumerate() {
            match quotas.reserve(caller, &agent(number)) {
                Ok(place) => place.keep(Lease::default()),
                Err(RegistryError::QuotaReached { of, .. }) => return (done, Some(of)),
                Err(other) => panic!("{other:?}"),
            }
        }
        (numbers.len(), None)
    }

    #[tokio::test]
    async fn a_connection_and_a_host_have_quotas_for_registrations() {
        let quotas = quotas(3, 5);
        let (first, second) = (caller("10.0.0.1:1"), caller("10.0.0.1:2"));
        let of = QuotaKind::RegistrationsPerConnection;
        assert_eq!(register(&quotas, &first, 0..9), (3, Some(of)));
        let of = QuotaKind::RegistrationsPerPeer;
        assert_eq!(register(&quotas, &second, 10..19), (2, Some(of)));
        let other = caller("10.0.0.2:1");
        assert_eq!(register(&quotas, &other, 20..22), (2, None));
        // A registration that is made again takes no second place, even on another connection.
        assert_eq!(register(&quotas, &first, 0..3), (3, None));
        let third = caller("10.0.0.1:3");
        assert_eq!(register(&quotas, &third, 0..2), (2, None));
        assert_eq!(quotas.table.lock().registrations.len(), 7);
        // Another host that replaces a registration takes over its place.
        assert_eq!(register(&quotas, &other, 0..1), (1, None));
        assert_eq!(register(&quotas, &third, 30..39), (1, Some(of)));
    }

    #[tokio::test]
    async fn a_refused_registration_takes_no_place() {
        let quotas = quotas(2, 5);
        let caller = caller("10.0.0.1:1");
        for _ in 0..100 {
            drop(quotas.reserve(&caller, &agent(0)).unwrap());
        }
        assert!(quotas.table.lock().counts.is_empty());
        let pending = quotas.reserve(&caller, &agent(1)).unwrap();
        let also = quotas.reserve(&caller, &agent(2)).unwrap();
        assert!(quotas.reserve(&caller, &agent(3)).is_err());
        also.keep(Lease::default());
        pending.keep(Lease::default());
        assert!(quotas.reserve(&caller, &agent(3)).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_once_the_lease_has_passed_without_a_heartbeat() {
        let quotas = quotas(2, 5);
        let caller = caller("10.0.0.1:1");
        assert_eq!(register(&quotas, &caller, 0..2).0, 2);
        tokio::time::advance(Duration::from_secs(60)).await;
        quotas.renew("weather", &agent(0).endpoint);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(register(&quotas, &caller, 2..9).0, 1);
        assert_eq!(quotas.table.lock().registrations.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn places_follow_what_the_registry_holds() {
        let quotas = quotas(4, 5);
        let caller = caller("10.0.0.1:1");
        assert_eq!(register(&quotas, &caller, 0..3).0, 3);
        tokio::time::advance(Duration::from_secs(1)).await;
        let read_at = Instant::now();
        // This registration is newer than what was read.
        assert_eq!(register(&quotas, &caller, 3..4).0, 1);
        let live = Arc::new(agent(1));
        quotas.reconcile("weather", &[live], read_at);
        assert_eq!(quotas.table.lock().registrations.len(), 2);
        assert_eq!(register(&quotas, &caller, 5..9).0, 2);
        assert!(quotas.counts_any("weather") && !quotas.counts_any("echo"));
    }

    #[tokio::test]
    async fn watches_have_quotas_until_they_end() {
        let quotas = quotas(2, 3);
        let (first, second) = (caller("[2001:db8::1]:1"), caller("[2001:db8::2]:1"));
        let _one = quotas.reserve_watch(&first).unwrap();
        let two = quotas.reserve_watch(&first).unwrap();
        assert!(quotas.reserve_watch(&first).is_err());
        let _three = quotas.reserve_watch(&second).unwrap();
        assert!(quotas.reserve_watch(&second).is_err());
        drop(two);
        let _four = quotas.reserve_watch(&second).unwrap();
        let inside = Caller::new(Peer::new(PeerAddr::Memory("here".into())));
        let places: Vec<_> = (0..2)
            .map(|_| quotas.reserve_watch(&inside).unwrap())
            .collect();
        assert!(quotas.reserve_watch(&inside).is_err());
        drop(places);
    }
}
