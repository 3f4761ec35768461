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
    First,
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
    pub(super) fn admit(&self, key: &Key, fingerprint: u64, outcome: &Outcome) -> Admitted {
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
        while state.bytes + size > self.limits.bytes {
            if !state.remove_oldest() {
                return Admitted::Full;
            }
        }
        state.bytes += size;
        state.in_flight += 1;
        let entry = Entry {
            fingerprint,
            outcome: outcome.clone(),
        };
        state.entries.insert(key.clone(), entry);
        Admitted::First
    }

    /// Forgets a request without an outcome.
    pub(super) fn forget(&self, key: &Key) {
        let mut state = self.state.lock();
        if state.entries.remove(key).is_some() {
            state.bytes -= size_of_key(key);
            state.in_flight -= 1;
        }
    }

    /// Keeps the outcome of a request. An outcome that does not fit is forgotten.
    pub(super) fn keep(&self, key: Key, outcome: &Body) {
        let size = approximate_memory(outcome, self.limits.bytes);
        self.keep_bytes(key, size, is_unstarted(outcome));
    }

    /// Keeps a stream that has ended, with the answers that it has kept.
    pub(super) fn keep_stream(&self, key: Key, bytes: usize) {
        self.keep_bytes(key, bytes, false);
    }

    fn keep_bytes(&self, key: Key, size: usize, is_unstarted: bool) {
        let mut state = self.state.lock();
        state.in_flight -= 1;
        while state.bytes + size > self.limits.bytes {
            if !state.remove_oldest() {
                break;
            }
        }
        if state.bytes + size > self.limits.bytes || is_unstarted {
            if state.entries.remove(&key).is_some() {
                state.bytes -= size_of_key(&key);
            }
            return;
        }
        state.bytes += size;
        let size = size + size_of_key(&key);
        state.kept.push_back((Instant::now(), key, size));
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

/// Forgets a request whose task ends without an outcome, for example because the agent panicked
/// while it was dropped.
pub(super) struct Place {
    store: Weak<Store>,
    key: Option<Key>,
}

impl Place {
    pub(super) fn new(store: &Arc<Store>, key: Key) -> Self {
        Self {
            store: Arc::downgrade(store),
            key: Some(key),
        }
    }

    pub(super) fn keep(&mut self, outcome: &Body) {
        if let (Some(store), Some(key)) = (self.store.upgrade(), self.key.take()) {
            store.keep(key, outcome);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(store), Some(key)) = (self.store.upgrade(), self.key.take()) {
            store.forget(&key);
        }
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

    use super::{super::key::Owner, *};

    fn store(window: Duration, bytes: usize) -> Store {
        Store::new(OutcomeLimits { window, bytes })
    }

    fn key(key: &str) -> Key {
        Key {
            owner: Owner::Principal("ann".to_owned()),
            key: key.to_owned(),
        }
    }

    fn outcome() -> Outcome {
        Outcome::Stream(Arc::default())
    }

    fn answer() -> Body {
        Body::Response(Response::Message(Message::agent("done")))
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_is_kept_for_the_window() {
        let store = store(Duration::from_secs(60), 1 << 20);
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome()),
            Admitted::First
        ));
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome()),
            Admitted::Repeated(_)
        ));
        assert!(matches!(
            store.admit(&key("a"), 2, &outcome()),
            Admitted::Conflict
        ));
        store.keep(key("a"), &answer());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome()),
            Admitted::Repeated(_)
        ));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(matches!(
            store.admit(&key("a"), 1, &outcome()),
            Admitted::First
        ));
        store.forget(&key("a"));
        assert_eq!(store.state.lock().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_outcomes_make_room_and_requests_in_flight_do_not() {
        let store = store(Duration::from_secs(60), 4096);
        let mut first = 0;
        for number in 0..100 {
            let key = key(&number.to_string());
            assert!(matches!(store.admit(&key, 1, &outcome()), Admitted::First));
            store.keep(key, &answer());
            assert!(store.state.lock().bytes <= 4096);
            first = number;
        }
        assert!(matches!(
            store.admit(&key("0"), 1, &outcome()),
            Admitted::First
        ));
        assert!(matches!(
            store.admit(&key(&first.to_string()), 1, &outcome()),
            Admitted::Repeated(_)
        ));
        let mut in_flight = 0;
        while let Admitted::First =
            store.admit(&key(&format!("in flight {in_flight}")), 1, &outcome())
        {
            in_flight += 1;
        }
        assert!(in_flight > 1);
        assert!(store.state.lock().bytes <= 4096);
    }
}
