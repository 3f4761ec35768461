//! Keeps the outcomes of requests with an idempotency key (PROTOCOL 16.3).

#[cfg(feature = "redis")]
mod shared;
mod stream;

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_codec::{
    Body, EnvelopeType, ErrorCode, Format, Map, Request, RequestId, Response, WireError,
};
use agentwire_transport::internal::Mutex;
use futures_core::{future::BoxFuture, stream::BoxStream};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

use self::stream::{End, KeptStream, Reader, is_unstarted};
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
    pub(in crate::server) window: Duration,
    pub(in crate::server) bytes: usize,
}

/// Where the outcomes are that several servers share, if they do.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedOutcomes {
    #[cfg(feature = "redis")]
    redis: Option<Arc<agentwire_registry::RedisOutcomes>>,
}

#[cfg(feature = "redis")]
impl SharedOutcomes {
    pub(crate) fn through(redis: agentwire_registry::RedisOutcomes) -> Self {
        Self {
            redis: Some(Arc::new(redis)),
        }
    }
}

/// A service that processes a request with an idempotency key once. A repeated request joins the
/// first one, or gets its outcome.
pub(in crate::server) struct Outcomes {
    service: Arc<dyn Service>,
    store: Arc<Store>,
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "nothing can be shared")
    )]
    shared: SharedOutcomes,
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
    outcome: Outcome,
}

/// The outcome of a request, as far as it is known.
#[derive(Clone)]
enum Outcome {
    One(watch::Receiver<Option<Arc<Body>>>),
    Stream(Arc<KeptStream>),
}

/// What a request with a key is.
enum Admitted {
    First,
    Repeated(Outcome),
    /// The key belongs to a different request.
    Conflict,
    /// There is no memory for another key.
    Full,
}

impl Outcomes {
    pub(in crate::server) fn keep(
        service: Arc<dyn Service>,
        limits: OutcomeLimits,
        shared: SharedOutcomes,
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
            shared,
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
            // All callers may have stopped waiting.
            let _ = sender.send(Some(outcome));
        });
    }
}

impl Outcomes {
    /// Returns the answers of a stream for one request.
    fn read(&self, key: Key, stream: Arc<KeptStream>, number: u64) -> BoxStream<'static, Body> {
        let (store, kept) = (Arc::downgrade(&self.store), Arc::clone(&stream));
        let (tasks, shutdown) = (self.tasks.clone(), self.shutdown.clone());
        let ended = move |end: End| {
            let Some(store) = store.upgrade() else {
                return;
            };
            match end {
                End::Sent { bytes } => store.keep_stream(key, bytes),
                End::Unstarted => store.forget(&key),
                End::Left if kept.waits_for_repetition(number) => {
                    let give_up = move || {
                        if kept.give_up(number) {
                            store.forget(&key);
                        }
                    };
                    // A reader can be dropped after its runtime.
                    if Handle::try_current().is_err() {
                        return give_up();
                    }
                    tasks.spawn(async move {
                        tokio::select! {
                            () = shutdown.started() => {}
                            () = sleep(TAKEOVER) => {}
                        }
                        give_up();
                    });
                }
                End::Left => {
                    if kept.give_up(number) {
                        store.keep_stream(key, 0);
                    }
                }
            }
        };
        Box::pin(Reader::new(stream, number, Box::new(ended)))
    }

    /// Processes a request in a task, unless another server does.
    #[cfg(feature = "redis")]
    fn run_shared(
        &self,
        key: Key,
        identity: &[u8],
        sender: watch::Sender<Option<Arc<Body>>>,
        (id, body, caller): (&RequestId, Body, &Caller),
    ) {
        let Some(outcomes) = &self.shared.redis else {
            return;
        };
        let request = shared::SharedRequest {
            outcomes: Arc::clone(outcomes),
            service: Arc::clone(&self.service),
            key: shared::text_of(&key),
            fingerprint: shared::fingerprint(identity),
            window: self.store.limits.window,
            id: id.clone(),
            body,
            caller: caller.clone(),
        };
        self.run(key, Box::pin(request.run()), sender);
    }

    fn start_stream(
        &self,
        key: Key,
        stream: Arc<KeptStream>,
        started: Result<Work, WireError>,
    ) -> Result<Work, WireError> {
        match started {
            Ok(Work::Many(answers)) => {
                let reader = stream.reader();
                stream.start(answers);
                Ok(Work::Many(self.read(key, stream, reader)))
            }
            other => {
                self.store.forget(&key);
                other
            }
        }
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
        let Some(key) = key_of(&body, caller) else {
            return self.service.start(id, body, caller);
        };
        let key = Key {
            owner: Owner::of(caller),
            key,
        };
        let identity = identity_of(&body);
        let fingerprint = self.store.hasher.hash_one(&identity);
        let (sender, receiver) = watch::channel(None);
        let outcome = if matches!(body, Body::Request(Request::Stream(_))) {
            Outcome::Stream(Arc::default())
        } else {
            Outcome::One(receiver)
        };
        match (self.store.admit(&key, fingerprint, &outcome), outcome) {
            #[cfg(feature = "redis")]
            (Admitted::First, Outcome::One(waiting)) if self.shared.redis.is_some() => {
                self.run_shared(key, &identity, sender, (id, body, caller));
                Ok(Work::One(Box::pin(wait(waiting, false))))
            }
            (Admitted::First, Outcome::One(waiting)) => {
                match self.service.start(id, body, caller) {
                    Ok(Work::One(answer)) => self.run(key, answer, sender),
                    other => {
                        self.store.forget(&key);
                        return other;
                    }
                }
                Ok(Work::One(Box::pin(wait(waiting, false))))
            }
            (Admitted::First, Outcome::Stream(stream)) => {
                let started = self.service.start(id, body, caller);
                self.start_stream(key, stream, started)
            }
            (Admitted::Repeated(Outcome::One(mut waiting)), _) => {
                waiting.mark_unchanged();
                Ok(Work::One(Box::pin(wait(waiting, true))))
            }
            (Admitted::Repeated(Outcome::Stream(stream)), _) => {
                let reader = stream.take_over()?;
                Ok(Work::Many(self.read(key, stream, reader)))
            }
            (Admitted::Conflict, _) => Err(conflict()),
            (Admitted::Full, _) => {
                let text = "The server keeps too many requests with idempotency keys";
                Err(WireError::new(ErrorCode::AGENT_UNAVAILABLE, text)
                    .with_details(Map::from([("reason", "memory")])))
            }
        }
    }
}

fn conflict() -> WireError {
    let text = "The idempotency key belongs to a different request";
    WireError::new(ErrorCode::INVALID_MESSAGE, text)
        .with_details(Map::from([("reason", "idempotency_key")]))
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
        Body::Response(Response::Message(message)) | Body::StreamChunk(message) => {
            &mut message.metadata
        }
        Body::Response(Response::Tool(result)) => &mut result.metadata,
        Body::Error(error) => &mut error.details,
        _ => return answer,
    };
    marks.insert("idempotent_replay", true);
    answer
}

/// Returns the idempotency key of a request: that of its payload, or else that of its headers.
fn key_of(body: &Body, caller: &Caller) -> Option<String> {
    let delivery = match body {
        Body::Request(Request::Process(call) | Request::Stream(call)) => &call.delivery,
        Body::Request(Request::Execute(call)) => &call.delivery,
        _ => return None,
    };
    let carried = caller.carried.idempotency_key.as_deref();
    delivery
        .idempotency_key
        .clone()
        .or_else(|| carried.map(str::to_owned))
}

impl Owner {
    fn of(caller: &Caller) -> Self {
        match &caller.principal {
            Some(principal) => Self::Principal(principal.name().to_owned()),
            None => Self::Peer(PeerKey::of(&caller.peer)),
        }
    }
}

/// Returns bytes that differ for different requests. A deadline and a trace context differ from
/// attempt to attempt, so they do not count.
fn identity_of(body: &Body) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut put = |text: &str| {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0xc1);
    };
    match body {
        Body::Request(request @ (Request::Process(call) | Request::Stream(call))) => {
            put(request.method().unwrap_or_default());
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
    bytes
}

impl Store {
    /// Admits a request. The first request with a key gets an entry with this outcome.
    fn admit(&self, key: &Key, fingerprint: u64, outcome: &Outcome) -> Admitted {
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
        self.keep_bytes(key, size, is_unstarted(outcome));
    }

    /// Keeps a stream that has ended, with the answers that it has kept.
    fn keep_stream(&self, key: Key, bytes: usize) {
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

/// How long a stream whose caller has left waits for a repetition of its request.
const TAKEOVER: Duration = Duration::from_secs(10);

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
