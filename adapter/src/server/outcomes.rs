//! Keeps the outcomes of requests with an idempotency key (PROTOCOL 16.3).

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_codec::{
    Body, Delivery, EnvelopeType, ErrorCode, Format, Map, Request, RequestId, Response, WireError,
};
use agentwire_transport::internal::Mutex;
use futures_core::future::BoxFuture;
use tokio::{sync::watch, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    peer_key::PeerKey,
    service::{Caller, Heartbeats, Service, Work},
    shutdown::Shutdown,
};
use crate::{
    connection::{Bodies, approximate_memory},
    observer::Subject,
};

/// For how long outcomes are kept, and how much memory they may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutcomeLimits {
    pub(super) window: Duration,
    pub(super) bytes: usize,
}

/// A service that processes a request with an idempotency key once. A repeated request joins the
/// first one, or gets its outcome.
pub(super) struct Outcomes {
    service: Arc<dyn Service>,
    store: Arc<Store>,
    /// Requests with a key run in tasks of the server, so that they continue if their connection
    /// ends.
    tasks: TaskTracker,
    shutdown: Shutdown,
}

/// Whose request has the key. Callers do not see each other's outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    owner: Owner,
    key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    Principal(String),
    Peer(PeerKey),
}

struct Store {
    limits: OutcomeLimits,
    hasher: RandomState,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// The keys of the kept outcomes, oldest first.
    kept: VecDeque<(Instant, Key, usize)>,
    bytes: usize,
    /// The number of requests without an outcome.
    in_flight: usize,
}

struct Entry {
    /// Tells a repeated request from a different request with the same key.
    fingerprint: u64,
    outcome: watch::Receiver<Option<Arc<Body>>>,
}

/// What a request with a key is.
enum Admitted {
    First(watch::Sender<Option<Arc<Body>>>),
    Repeated(watch::Receiver<Option<Arc<Body>>>),
    /// The key belongs to a different request.
    Conflict,
    /// There is no memory for another key.
    Full,
}

impl Outcomes {
    pub(super) fn keep(
        service: Arc<dyn Service>,
        limits: OutcomeLimits,
        tasks: TaskTracker,
        shutdown: Shutdown,
    ) -> Arc<dyn Service> {
        let store = Store {
            limits,
            hasher: RandomState::new(),
            state: Mutex::default(),
        };
        Arc::new(Self {
            service,
            store: Arc::new(store),
            tasks,
            shutdown,
        })
    }

    /// Starts the first request with a key in a task.
    fn run(
        &self,
        key: Key,
        answer: BoxFuture<'static, Body>,
        sender: watch::Sender<Option<Arc<Body>>>,
    ) {
        let mut place = Place {
            store: Arc::downgrade(&self.store),
            key: Some(key),
        };
        let shutdown = self.shutdown.listen();
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                biased;
                () = shutdown.aborted() => return,
                outcome = answer => outcome,
            };
            let outcome = Arc::new(outcome);
            place.keep(&outcome);
            // Nobody may be waiting.
            let _ = sender.send(Some(outcome));
        });
    }
}

impl Service for Outcomes {
    #[cfg(feature = "http")]
    fn name(&self) -> &str {
        self.service.name()
    }

    fn bodies(&self) -> Bodies {
        self.service.bodies()
    }

    fn accepts(&self, kind: EnvelopeType) -> bool {
        self.service.accepts(kind)
    }

    fn agent_for<'a>(&'a self, requested: &'a str) -> &'a str {
        self.service.agent_for(requested)
    }

    fn heartbeats(&self) -> Heartbeats {
        self.service.heartbeats()
    }

    fn subject(&self, body: &Body) -> Subject {
        self.service.subject(body)
    }

    #[cfg(feature = "http")]
    fn authenticates(&self) -> bool {
        self.service.authenticates()
    }

    #[cfg(any(feature = "http", feature = "websocket"))]
    fn check_credential(&self, caller: Caller) -> BoxFuture<'static, Result<(), WireError>> {
        self.service.check_credential(caller)
    }

    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError> {
        let Some(key) = delivery(&body).and_then(|delivery| delivery.idempotency_key.clone())
        else {
            return self.service.start(id, body, caller);
        };
        let key = Key {
            owner: Owner::of(caller),
            key,
        };
        let fingerprint = self.store.fingerprint(&body);
        let mut waiting = match self.store.admit(&key, fingerprint) {
            Admitted::First(sender) => {
                let waiting = sender.subscribe();
                let started = match self.service.start(id, body, caller) {
                    Ok(Work::One(answer)) => answer,
                    // Requests with several answers have no kept outcome.
                    other => {
                        self.store.forget(&key);
                        return other;
                    }
                };
                self.run(key, started, sender);
                return Ok(Work::One(Box::pin(wait(waiting, false))));
            }
            Admitted::Repeated(waiting) => waiting,
            Admitted::Conflict => {
                let text = "The idempotency key belongs to a different request";
                return Err(WireError::new(ErrorCode::INVALID_MESSAGE, text)
                    .with_details(Map::from([("reason", "idempotency_key")])));
            }
            Admitted::Full => {
                let text = "The server keeps too many requests with idempotency keys";
                return Err(WireError::new(ErrorCode::AGENT_UNAVAILABLE, text)
                    .with_details(Map::from([("reason", "memory")])));
            }
        };
        waiting.mark_unchanged();
        Ok(Work::One(Box::pin(wait(waiting, true))))
    }
}

/// Waits for an outcome.
async fn wait(mut waiting: watch::Receiver<Option<Arc<Body>>>, is_repeated: bool) -> Body {
    let outcome = match waiting.wait_for(Option::is_some).await {
        Ok(outcome) => outcome.as_deref().cloned(),
        Err(_) => None,
    };
    match outcome {
        Some(outcome) if is_repeated => marked(outcome),
        Some(outcome) => outcome,
        None => {
            let text = "The request ended without an outcome";
            Body::Error(WireError::new(ErrorCode::INTERNAL_ERROR, text))
        }
    }
}

/// Marks an answer as the outcome of an earlier request.
fn marked(mut answer: Body) -> Body {
    let marks = match &mut answer {
        Body::Response(Response::Message(message)) => &mut message.metadata,
        Body::Response(Response::Tool(result)) => &mut result.metadata,
        Body::Error(error) => &mut error.details,
        _ => return answer,
    };
    marks.insert("idempotent_replay", true);
    answer
}

fn delivery(body: &Body) -> Option<&Delivery> {
    match body {
        Body::Request(Request::Process(call)) => Some(&call.delivery),
        Body::Request(Request::Execute(call)) => Some(&call.delivery),
        // A stream has many answers.
        _ => None,
    }
}

impl Owner {
    fn of(caller: &Caller) -> Self {
        match &caller.principal {
            Some(principal) => Self::Principal(principal.name().to_owned()),
            None => Self::Peer(PeerKey::of(&caller.peer)),
        }
    }
}

impl Store {
    /// Returns a number that differs for different requests, except for a deadline and a trace
    /// context, which differ from attempt to attempt.
    fn fingerprint(&self, body: &Body) -> u64 {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0xc1);
        };
        match body {
            Body::Request(Request::Process(call)) => {
                put("process");
                put(&call.agent_name);
                put(&call.message.role);
                let content = &call.message.content;
                // A value that cannot be encoded has not been decoded either.
                let _ = Format::MessagePack.encode_value(content, &mut bytes);
            }
            Body::Request(Request::Execute(call)) => {
                put("execute");
                put(&call.tool_name);
                let kwargs = call.kwargs.clone().into();
                let _ = Format::MessagePack.encode_value(&kwargs, &mut bytes);
            }
            _ => {}
        }
        self.hasher.hash_one(bytes)
    }

    fn admit(&self, key: &Key, fingerprint: u64) -> Admitted {
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
        let (sender, outcome) = watch::channel(None);
        let entry = Entry {
            fingerprint,
            outcome,
        };
        state.entries.insert(key.clone(), entry);
        Admitted::First(sender)
    }

    /// Forgets a request without an outcome.
    fn forget(&self, key: &Key) {
        let mut state = self.state.lock();
        if state.entries.remove(key).is_some() {
            state.bytes -= size_of_key(key);
            state.in_flight -= 1;
        }
    }

    /// Keeps the outcome of a request. An outcome that does not fit is forgotten.
    fn keep(&self, key: Key, outcome: &Body) {
        let size = approximate_memory(outcome, self.limits.bytes);
        let mut state = self.state.lock();
        state.in_flight -= 1;
        while state.bytes + size > self.limits.bytes {
            if !state.remove_oldest() {
                break;
            }
        }
        if state.bytes + size > self.limits.bytes || is_unstarted(outcome) {
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

/// Returns whether the answer says that the request was not processed, so that it may be repeated.
fn is_unstarted(outcome: &Body) -> bool {
    matches!(outcome, Body::Error(error) if error.code == ErrorCode::AGENT_UNAVAILABLE)
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
struct Place {
    store: Weak<Store>,
    key: Option<Key>,
}

impl Place {
    fn keep(&mut self, outcome: &Body) {
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
    use agentwire_codec::Message;

    use super::*;

    fn store(window: Duration, bytes: usize) -> Store {
        Store {
            limits: OutcomeLimits { window, bytes },
            hasher: RandomState::new(),
            state: Mutex::default(),
        }
    }

    fn key(key: &str) -> Key {
        Key {
            owner: Owner::Principal("ann".to_owned()),
            key: key.to_owned(),
        }
    }

    fn answer() -> Body {
        Body::Response(Response::Message(Message::agent("done")))
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_is_kept_for_the_window() {
        let store = store(Duration::from_secs(60), 1 << 20);
        assert!(matches!(store.admit(&key("a"), 1), Admitted::First(_)));
        assert!(matches!(store.admit(&key("a"), 1), Admitted::Repeated(_)));
        assert!(matches!(store.admit(&key("a"), 2), Admitted::Conflict));
        store.keep(key("a"), &answer());
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(matches!(store.admit(&key("a"), 1), Admitted::Repeated(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(matches!(store.admit(&key("a"), 1), Admitted::First(_)));
        store.forget(&key("a"));
        assert_eq!(store.state.lock().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_outcomes_make_room_and_requests_in_flight_do_not() {
        let store = store(Duration::from_secs(60), 4096);
        let mut first = 0;
        for number in 0..100 {
            let key = key(&number.to_string());
            assert!(matches!(store.admit(&key, 1), Admitted::First(_)));
            store.keep(key, &answer());
            assert!(store.state.lock().bytes <= 4096);
            first = number;
        }
        assert!(matches!(store.admit(&key("0"), 1), Admitted::First(_)));
        assert!(matches!(
            store.admit(&key(&first.to_string()), 1),
            Admitted::Repeated(_)
        ));
        let mut in_flight = 0;
        while let Admitted::First(_) = store.admit(&key(&format!("in flight {in_flight}")), 1) {
            in_flight += 1;
        }
        assert!(in_flight > 1);
        assert!(store.state.lock().bytes <= 4096);
    }
}
