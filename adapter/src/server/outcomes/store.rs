//! The outcomes that are kept, within their limits.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_codec::Body;
use agentwire_transport::internal::Mutex;
use tokio::{sync::watch, time::Instant};

use super::{answers::is_unstarted, key::Key, stream::KeptStream};
use crate::connection::approximate_memory;

/// For how long outcomes are kept, and how much memory they may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutcomeLimits {
    pub(in crate::server) window: Duration,
    pub(in crate::server) bytes: usize,
}

pub(super) struct Store {
    pub(super) limits: OutcomeLimits,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    entries: HashMap<Key, Entry>,
    /// The keys of the kept outcomes, oldest first.
    kept: VecDeque<(Instant, Key, usize)>,
    bytes: usize,
    /// The number of requests without an outcome.
    in_flight: usize,
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
    pub(super) fn new(limits: OutcomeLimits) -> Self {
        Self {
            limits,
            hasher: RandomState::new(),
            state: Mutex::default(),
        }
    }

    /// Returns what tells a request from others with the same key.
    pub(super) fn fingerprint(&self, identity: &[u8]) -> u64 {
        self.hasher.hash_one(identity)
    }

    /// Admits a request. The first request with a key gets an entry with this outcome.
    pub(super) fn admit(
        self: &Arc<Self>,
        key: &Key,
        fingerprint: u64,
        outcome: &Outcome,
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
        if state.in_flight >= MAX_IN_FLIGHT {
            return Admitted::Full;
        }
        let size = size_of_key(key);
        if !state.make_room(size, self.limits.bytes) {
            return Admitted::Full;
        }
        state.bytes += size;
        state.in_flight += 1;
        let entry = Entry {
            fingerprint,
            outcome: outcome.clone(),
        };
        state.entries.insert(key.clone(), entry);
        Admitted::First(Place {
            store: Arc::downgrade(self),
            key: Some(key.clone()),
        })
    }

    /// Ends a request in flight. Keeps its outcome, which has this size, unless there is none or it
    /// does not fit.
    fn settle(&self, key: Key, outcome: Option<usize>) {
        let mut state = self.state.lock();
        state.in_flight -= 1;
        if let Some(size) = outcome.filter(|size| state.make_room(*size, self.limits.bytes)) {
            state.bytes += size;
            let size = size + size_of_key(&key);
            state.kept.push_back((Instant::now(), key, size));
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
    fn remove_expired(&mut self, now: Instant, window: Duration) {
        while let Some((since, ..)) = self.kept.front() {
            if now.saturating_duration_since(*since) < window {
                return;
            }
            self.remove_oldest();
        }
    }

    /// Removes the oldest outcomes until this size fits. Returns whether it does.
    fn make_room(&mut self, size: usize, limit: usize) -> bool {
        while self.bytes.saturating_add(size) > limit {
            if !self.remove_oldest() {
                return false;
            }
        }
        true
    }

    /// Removes the oldest outcome. Returns whether there was one.
    fn remove_oldest(&mut self) -> bool {
        let Some((_, key, size)) = self.kept.pop_front() else {
            return false;
        };
        self.entries.remove(&key);
        self.bytes -= size;
        true
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
            store.settle(key, outcome);
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
    use crate::server::owner::Owner;

    fn store(window: Duration, bytes: usize) -> Arc<Store> {
        Arc::new(Store::new(OutcomeLimits { window, bytes }))
    }

    fn key(key: &str) -> Key {
        Key {
            owner: Owner::Principal {
                namespace: None,
                name: "ann".to_owned(),
            },
            key: key.to_owned(),
        }
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
        let place = first(store.admit(&key("a"), 1, &outcome()));
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome()),
            Admitted::Repeated(_)
        ));
        assert!(matches!(
            store.admit(&key("a"), 2, &outcome()),
            Admitted::Conflict
        ));
        place.keep(&answer());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome()),
            Admitted::Repeated(_)
        ));
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(first(store.admit(&key("a"), 1, &outcome())));
        let state = store.state.lock();
        assert_eq!((state.bytes, state.in_flight), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_outcomes_make_room_and_requests_in_flight_do_not() {
        let store = store(Duration::from_secs(60), 4096);
        let mut last = 0;
        for number in 0..100 {
            let key = key(&number.to_string());
            first(store.admit(&key, 1, &outcome())).keep(&answer());
            assert!(store.state.lock().bytes <= 4096);
            last = number;
        }
        let mut places = vec![first(store.admit(&key("0"), 1, &outcome()))];
        assert!(matches!(
            store.admit(&key(&last.to_string()), 1, &outcome()),
            Admitted::Repeated(_)
        ));
        while let Admitted::First(place) =
            store.admit(&key(&format!("in flight {}", places.len())), 1, &outcome())
        {
            places.push(place);
        }
        assert!(places.len() > 2);
        assert!(store.state.lock().bytes <= 4096);
    }
}
