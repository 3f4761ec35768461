//! The outcomes that are kept, within their limits.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_codec::Body;
use agentwire_transport::internal::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{answers::is_unstarted, key::Key, stream::KeptStream};
use crate::{connection::approximate_memory, server::owner::Owner};

/// For how long outcomes are kept, and how much memory they may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutcomeLimits {
    pub(in crate::server) window: Duration,
    pub(in crate::server) bytes: usize,
}

pub(super) struct Store {
    pub(super) limits: OutcomeLimits,
    /// The memory of all requests in flight.
    memory: usize,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    entries: HashMap<Key, Entry>,
    /// The kept outcomes, oldest first.
    kept: BTreeMap<u64, Kept>,
    next_kept: u64,
    bytes: usize,
    in_flight: InFlight,
    /// What each owner has of the above.
    shares: HashMap<Owner, Share>,
}

struct Kept {
    since: Instant,
    key: Key,
    size: usize,
}

/// The requests without an outcome.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct InFlight {
    requests: usize,
    memory: usize,
}

#[derive(Default)]
struct Share {
    in_flight: InFlight,
    /// The numbers of the kept outcomes, oldest first.
    kept: VecDeque<u64>,
    bytes: usize,
}

pub(super) struct Entry {
    /// Tells a repeated request from a different request with the same key.
    fingerprint: u64,
    outcome: Outcome,
}

/// The outcome of a request, as far as it is known.
#[derive(Clone)]
pub(super) enum Outcome {
    One(watch::Receiver<Option<Arc<Body>>>),
    Stream(Arc<KeptStream>),
}

/// What a request with a key is.
pub(super) enum Admitted {
    First(Place),
    Repeated(Outcome),
    /// The key belongs to a different request.
    Conflict,
    /// There is no memory for another key.
    Full,
}

impl Store {
    /// Creates a store for requests that use this memory while they are in flight.
    pub(super) fn new(limits: OutcomeLimits, memory: usize) -> Self {
        Self {
            limits,
            memory,
            hasher: RandomState::new(),
            state: Mutex::default(),
        }
    }

    /// Returns what tells a request from others with the same key.
    pub(super) fn fingerprint(&self, identity: &[u8]) -> u64 {
        self.hasher.hash_one(identity)
    }

    /// Admits a request that uses this memory. The first request with a key gets an entry with this
    /// outcome.
    pub(super) fn admit(
        self: &Arc<Self>,
        key: &Key,
        fingerprint: u64,
        outcome: &Outcome,
        memory: usize,
    ) -> Admitted {
        let mut state = self.state.lock();
        state.remove_expired(Instant::now(), self.limits.window);
        if let Some(entry) = state.entries.get(key) {
            return if entry.fingerprint == fingerprint {
                Admitted::Repeated(entry.outcome.clone())
            } else {
                Admitted::Conflict
            };
        }
        // A request that is larger than the share of its owner is the only one of its owner.
        let memory = memory.min(self.memory / 2);
        if !state.has_place(&key.owner, memory, self.memory) {
            return Admitted::Full;
        }
        let size = size_of_key(key);
        if !state.make_room(&key.owner, size, self.limits.bytes) {
            return Admitted::Full;
        }
        state.bytes += size;
        state.in_flight.add(memory);
        let share = state.shares.entry(key.owner.clone()).or_default();
        share.in_flight.add(memory);
        let entry = Entry {
            fingerprint,
            outcome: outcome.clone(),
        };
        state.entries.insert(key.clone(), entry);
        Admitted::First(Place {
            store: Arc::downgrade(self),
            key: Some(key.clone()),
            memory,
        })
    }

    /// Ends a request in flight. Keeps its outcome, which has this size, unless there is none or it
    /// does not fit.
    fn settle(&self, key: Key, memory: usize, outcome: Option<usize>) {
        let mut state = self.state.lock();
        let limit = self.limits.bytes;
        let fitting = outcome.filter(|size| state.make_room(&key.owner, *size, limit));
        state.in_flight.remove(memory);
        state.change_share(&key.owner, |share| share.in_flight.remove(memory));
        if let Some(size) = fitting {
            state.keep(key, size);
            return;
        }
        let forgotten = state.entries.remove(&key);
        state.bytes -= size_of_key(&key);
        // What the entry keeps is dropped without the lock.
        drop(state);
        drop(forgotten);
    }
}

impl State {
    /// Returns whether a request may start. One owner does not take more than half of what all
    /// requests may use.
    fn has_place(&self, owner: &Owner, memory: usize, limit: usize) -> bool {
        let share = self.shares.get(owner);
        let own = share.map(|share| share.in_flight).unwrap_or_default();
        self.in_flight.fits(memory, MAX_IN_FLIGHT, limit)
            && (owner.may_take_all() || own.fits(memory, MAX_IN_FLIGHT / 2, limit / 2))
    }

    fn remove_expired(&mut self, now: Instant, window: Duration) {
        while let Some((number, kept)) = self.kept.first_key_value() {
            if now.saturating_duration_since(kept.since) < window {
                return;
            }
            let number = *number;
            self.remove(number);
        }
    }

    /// Removes the oldest outcomes until this size fits. Returns whether it does. For an owner that
    /// would have more than half of the memory, only its own outcomes are removed.
    fn make_room(&mut self, owner: &Owner, size: usize, limit: usize) -> bool {
        while self.bytes.saturating_add(size) > limit {
            let share = self.shares.get(owner);
            let bytes = share.map_or(0, |share| share.bytes);
            let oldest = if bytes.saturating_add(size) > limit / 2 {
                share.and_then(|share| share.kept.front())
            } else {
                self.kept.keys().next()
            };
            let Some(number) = oldest.copied() else {
                return false;
            };
            self.remove(number);
        }
        true
    }

    /// Keeps an outcome of this size, for which there is room.
    fn keep(&mut self, key: Key, size: usize) {
        self.bytes += size;
        let size = size + size_of_key(&key);
        let number = self.next_kept;
        self.next_kept += 1;
        let share = self.shares.entry(key.owner.clone()).or_default();
        share.kept.push_back(number);
        share.bytes += size;
        let since = Instant::now();
        self.kept.insert(number, Kept { since, key, size });
    }

    /// Removes the oldest outcome of an owner.
    fn remove(&mut self, number: u64) {
        if let Some(Kept { key, size, .. }) = self.kept.remove(&number) {
            self.entries.remove(&key);
            self.bytes -= size;
            self.change_share(&key.owner, |share| {
                share.kept.pop_front();
                share.bytes -= size;
            });
        }
    }

    fn change_share(&mut self, owner: &Owner, change: impl FnOnce(&mut Share)) {
        if let hash_map::Entry::Occupied(mut share) = self.shares.entry(owner.clone()) {
            change(share.get_mut());
            if share.get().in_flight.requests == 0 && share.get().kept.is_empty() {
                share.remove();
            }
        }
    }
}

impl InFlight {
    fn fits(self, memory: usize, requests: usize, limit: usize) -> bool {
        self.requests < requests && self.memory.saturating_add(memory) <= limit
    }

    fn add(&mut self, memory: usize) {
        self.requests += 1;
        self.memory += memory;
    }

    fn remove(&mut self, memory: usize) {
        self.requests -= 1;
        self.memory -= memory;
    }
}

/// The place of a request in flight. A request has one place, and only the place ends it, so a
/// request ends once and never ends a later one with its key.
///
/// A request whose place is dropped has no outcome and is forgotten, for example because the agent
/// panicked while it was dropped.
pub(super) struct Place {
    store: Weak<Store>,
    key: Option<Key>,
    /// The memory of the request, which its caller no longer pays for once its connection ends.
    memory: usize,
}

impl Place {
    /// Keeps the outcome of the request. An outcome that does not fit is forgotten.
    pub(super) fn keep(self, outcome: &Body) {
        if let (false, Some(store)) = (is_unstarted(outcome), self.store.upgrade()) {
            let size = approximate_memory(outcome, store.limits.bytes);
            self.keep_bytes(size);
        }
    }

    /// Keeps a stream that has ended, with answers of this size.
    pub(super) fn keep_bytes(mut self, size: usize) {
        self.settle(Some(size));
    }

    fn settle(&mut self, outcome: Option<usize>) {
        if let (Some(store), Some(key)) = (self.store.upgrade(), self.key.take()) {
            store.settle(key, self.memory, outcome);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settle(None);
    }
}

fn size_of_key(key: &Key) -> usize {
    size_of::<(Key, Entry, Instant)>() + 2 * key.key.len() + ENTRY_OVERHEAD
}

/// The maximum number of requests with a key that are processed at the same time. They outlive
/// their connections, so the limits of connections do not bound them.
const MAX_IN_FLIGHT: usize = 1024;

/// The memory of a channel and of the places in the tables.
const ENTRY_OVERHEAD: usize = 256;

#[cfg(test)]
mod tests {
    use agentwire_codec::{Message, Response};

    use super::*;

    fn store(window: Duration, bytes: usize) -> Arc<Store> {
        Arc::new(Store::new(OutcomeLimits { window, bytes }, MEMORY))
    }

    fn key_of(name: &str, key: &str) -> Key {
        Key {
            owner: Owner::Principal {
                namespace: None,
                name: name.to_owned(),
            },
            key: key.to_owned(),
        }
    }

    fn key(key: &str) -> Key {
        key_of("ann", key)
    }

    fn outcome() -> Outcome {
        Outcome::Stream(Arc::default())
    }

    fn first(admitted: Admitted) -> Place {
        match admitted {
            Admitted::First(place) => place,
            _ => panic!("not admitted as the first request"),
        }
    }

    fn answer() -> Body {
        Body::Response(Response::Message(Message::agent("done")))
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_is_kept_for_the_window() {
        let store = store(Duration::from_secs(60), 1 << 20);
        let place = first(store.admit(&key("a"), 1, &outcome(), 0));
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome(), 0),
            Admitted::Repeated(_)
        ));
        assert!(matches!(
            store.admit(&key("a"), 2, &outcome(), 0),
            Admitted::Conflict
        ));
        place.keep(&answer());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome(), 0),
            Admitted::Repeated(_)
        ));
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(first(store.admit(&key("a"), 1, &outcome(), 0)));
        let state = store.state.lock();
        assert_eq!((state.bytes, state.in_flight.requests), (0, 0));
        assert!(state.shares.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_outcomes_make_room_and_requests_in_flight_do_not() {
        let store = store(Duration::from_secs(60), 4096);
        let mut last = 0;
        for number in 0..100 {
            let key = key(&number.to_string());
            first(store.admit(&key, 1, &outcome(), 0)).keep(&answer());
            assert!(store.state.lock().bytes <= 4096);
            last = number;
        }
        let mut places = vec![first(store.admit(&key("0"), 1, &outcome(), 0))];
        assert!(matches!(
            store.admit(&key(&last.to_string()), 1, &outcome(), 0),
            Admitted::Repeated(_)
        ));
        while let Admitted::First(place) = store.admit(
            &key(&format!("in flight {}", places.len())),
            1,
            &outcome(),
            0,
        ) {
            places.push(place);
        }
        assert!(places.len() > 2);
        assert!(store.state.lock().bytes <= 4096);
    }

    #[test]
    fn requests_in_flight_of_an_owner_leave_half_of_the_places_and_of_the_memory() {
        let store = store(Duration::from_secs(60), 8 << 20);
        let admit = |name: &str, number: usize, memory: usize| {
            let key = key_of(name, &number.to_string());
            match store.admit(&key, 1, &outcome(), memory) {
                Admitted::First(place) => Some(place),
                _ => None,
            }
        };
        let mut places: Vec<_> = (0..)
            .map_while(|number| admit("mallory", number, 0))
            .collect();
        assert_eq!(places.len(), MAX_IN_FLIGHT / 2);
        assert!(admit("ann", 0, MEMORY / 2).is_some());
        places.clear();

        for memory in [MEMORY / 8, MEMORY, usize::MAX] {
            let held: Vec<_> = (0..)
                .map_while(|number| admit("mallory", number, memory))
                .collect();
            assert_eq!(held.len(), (MEMORY / 2 / memory).max(1), "{memory}");
            let ann = admit("ann", 0, MEMORY / 2);
            assert!(ann.is_some());
            // Nothing is left.
            assert!(admit("ben", 0, 1).is_none());
            drop((held, ann));
        }
        let state = store.state.lock();
        assert!(state.in_flight == InFlight::default() && state.shares.is_empty());
    }

    #[test]
    fn outcomes_of_an_owner_leave_half_of_the_memory() {
        let store = store(Duration::from_secs(60), 16 << 10);
        let run = |name: &str, number: usize| {
            first(store.admit(&key_of(name, &number.to_string()), 1, &outcome(), 0))
        };
        for number in 0..4 {
            run("ann", number).keep(&answer());
        }
        for number in 0..100 {
            run("mallory", number).keep(&answer());
        }
        // An outcome that fits only without those of others.
        let bytes = store.state.lock().bytes;
        assert!(bytes > 14 << 10);
        run("mallory", 100).keep_bytes(12 << 10);
        let huge = Body::Response(Response::Message(Message::agent("x".repeat(32 << 10))));
        run("mallory", 101).keep(&huge);
        for number in 0..4 {
            let admitted = store.admit(&key_of("ann", &number.to_string()), 1, &outcome(), 0);
            assert!(matches!(admitted, Admitted::Repeated(_)), "{number}");
        }
    }

    const MEMORY: usize = 1 << 20;
}
