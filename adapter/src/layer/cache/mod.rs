//! A layer that answers from memory: [`Cache`].

mod flights;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use agentwire_codec::{ErrorCode, Map, Message, Role, Value, WireError};
use agentwire_transport::internal::MAX_TIMEOUT;
use futures_util::future::Either;
use tokio::time::Instant;

use self::flights::{Flights, Turn};
use super::Layer;
use crate::{Agent, AgentError, Principal, RequestContext, connection::message_memory};

/// A layer that answers from memory what an agent has answered before.
///
/// Two messages are the same if their role and their content are the same, together with the
/// entries of the metadata that [`metadata_key`](Self::metadata_key) chooses. Other entries do not
/// matter, so a trace context or a credential never makes messages different. Each
/// [principal](RequestContext::principal) has its own answers. If a message has a credential in its
/// metadata and the server does not authenticate its callers, the message passes through.
///
/// Messages that arrive while the agent works on the same message wait for that answer. If the
/// caller of the first message leaves, the agent is asked again with the next one. Errors are not
/// stored. Streams and tools pass through.
///
/// An answer is kept for 300 s. The layer keeps at most 1000 answers and 64 MiB, and prefers the
/// answers that are used often.
///
/// An agent must not be cached if its answers depend on anything else, such as the peer, or if it
/// has other effects.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{Agent, Message, RequestContext, agent_fn, layer::Cache};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::AgentError> {
/// let cache = Cache::new().time_to_live(Duration::from_secs(60)).metadata_key("language");
/// let slow = agent_fn("slow", |message: Message| async move { Ok(message) }).layer(cache);
/// let first = slow.process(Message::user("?"), RequestContext::new()).await?;
/// let second = slow.process(Message::user("?"), RequestContext::new()).await?;
/// assert_eq!(first.timestamp, second.timestamp);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Cache {
    answers: moka::future::Cache<Arc<Key>, Entry>,
    flights: Flights<Key, Result<Entry, WireError>>,
    max_entries: u32,
    max_bytes: u32,
    time_to_live: Duration,
    /// The chosen keys of the metadata, sorted.
    metadata: Vec<String>,
    filter: Option<Box<MessageFilter>>,
}

type MessageFilter = dyn Fn(&Message) -> bool + Send + Sync;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    agent: Box<str>,
    principal: Option<Principal>,
    role: Role,
    content: Value,
    metadata: Map,
}

#[derive(Debug, Clone)]
struct Entry {
    answer: Arc<Message>,
    bytes: u32,
    expires: Instant,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            answers: moka::future::Cache::new(0),
            flights: Flights::default(),
            max_entries: DEFAULT_MAX_ENTRIES,
            max_bytes: DEFAULT_MAX_BYTES,
            time_to_live: DEFAULT_TIME_TO_LIVE,
            metadata: Vec::new(),
            filter: None,
        }
        .rebuilt()
    }
}

impl Cache {
    /// Creates an empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many answers are kept at most. The default is 1000, and the minimum is 1.
    pub fn max_entries(mut self, entries: u32) -> Self {
        self.max_entries = entries.max(1);
        self.rebuilt()
    }

    /// Sets about how many bytes of memory the messages and answers take at most. The default is 64
    /// MiB, and the maximum is 4 GiB. Larger messages and answers are not kept.
    pub fn max_bytes(mut self, bytes: u32) -> Self {
        self.max_bytes = bytes;
        self.rebuilt()
    }

    /// Sets how long an answer is kept. The default is 300 s.
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = time.min(MAX_TIMEOUT);
        self.rebuilt()
    }

    /// Chooses an entry of the metadata that makes messages different. Call this method once for
    /// each entry. Entries that hold a trace context, a credential or an identity are ignored.
    pub fn metadata_key(mut self, key: impl Into<String>) -> Self {
        let key = key.into();
        if !NEVER_KEYS.contains(&&*key) {
            self.metadata.push(key);
        }
        self
    }

    /// Sets which messages are answered from the cache. By default, all messages are.
    pub fn only_if(mut self, filter: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// Forgets all answers.
    pub fn clear(&self) {
        self.answers.invalidate_all();
    }

    fn rebuilt(mut self) -> Self {
        // The weight of an answer is at least its share of the memory, so one bound is enough for
        // both limits.
        let share = (self.max_bytes / self.max_entries).max(1);
        self.answers = moka::future::Cache::builder()
            .max_capacity(u64::from(share) * u64::from(self.max_entries))
            .weigher(move |_, entry: &Entry| entry.bytes.max(share))
            .time_to_live(self.time_to_live)
            .build();
        self
    }

    /// Returns the key of a message, or `None` if the message passes through.
    fn key(&self, message: &Message, context: &RequestContext, agent: &str) -> Option<Key> {
        let has_credential = |message: &Message| {
            CREDENTIALS
                .iter()
                .any(|key| message.metadata.contains_key(key))
        };
        let is_anonymous = context.principal().is_none();
        if is_anonymous && !message.metadata.is_empty() && has_credential(message) {
            return None;
        }
        if self.filter.as_ref().is_some_and(|filter| !filter(message)) {
            return None;
        }
        if message_memory(message)? > self.max_bytes as usize {
            return None;
        }
        let chosen = self.metadata.iter().filter_map(|key| {
            let value = message.metadata.get(key)?;
            Some((key.clone(), value.clone()))
        });
        Some(Key {
            agent: agent.into(),
            principal: context.principal().cloned(),
            role: message.role.clone(),
            content: message.content.clone(),
            metadata: chosen.collect(),
        })
    }

    fn entry(&self, question: usize, answer: Message) -> Entry {
        let bytes = message_memory(&answer).map_or(usize::MAX, |bytes| bytes + question);
        Entry {
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            answer: Arc::new(answer),
            expires: Instant::now() + self.time_to_live,
        }
    }

    /// Returns the stored answer for a key, unless it has expired.
    async fn stored(&self, key: &Key) -> Option<Entry> {
        let entry = self.answers.get(key).await?;
        (Instant::now() < entry.expires).then_some(entry)
    }

    /// Answers a message from memory, or asks the agent and keeps its answer.
    async fn answer<A: Agent>(
        &self,
        key: Key,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> Result<Message, AgentError> {
        if let Some(entry) = self.stored(&key).await {
            acted(&context, "hit", next.name());
            return Ok(Message::clone(&entry.answer));
        }
        let key = Arc::new(key);
        let seat = self.flights.join(Arc::clone(&key));
        let _turn = match seat.turn().await {
            Turn::Work(turn) => turn,
            Turn::Joined(shared) => {
                acted(&context, "joined", next.name());
                return joined(shared, message, context, next).await;
            }
        };
        // Another caller may have stored an answer before this one joined.
        if let Some(entry) = self.stored(&key).await {
            acted(&context, "hit", next.name());
            let answer = Message::clone(&entry.answer);
            seat.settle(Ok(entry));
            return Ok(answer);
        }
        acted(&context, "miss", next.name());
        let question = message_memory(&message).unwrap_or_default();
        match next.process(message, context).await {
            Ok(answer) => {
                let entry = self.entry(question, answer.clone());
                self.answers.insert(key, entry.clone()).await;
                seat.settle(Ok(entry));
                Ok(answer)
            }
            Err(error) => {
                let shared = WireError::new(error.code().clone(), error.message());
                seat.settle(Err(shared.with_details(error.details().clone())));
                Err(error)
            }
        }
    }
}

/// Answers a message with what another caller has got.
async fn joined<A: Agent>(
    shared: Result<Entry, WireError>,
    message: Message,
    context: RequestContext,
    next: &Arc<A>,
) -> Result<Message, AgentError> {
    match shared {
        Ok(entry) => Ok(Message::clone(&entry.answer)),
        Err(error) if OF_ONE_CALLER.contains(&error.code) => next.process(message, context).await,
        Err(error) => {
            Err(AgentError::with_code(error.code, &*error.message).with_details(error.details))
        }
    }
}

impl Layer for Cache {
    fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Future<Output = Result<Message, AgentError>> + Send {
        match self.key(&message, &context, next.name()) {
            Some(key) => Either::Left(Box::pin(self.answer(key, message, context, next))),
            None => Either::Right(next.process(message, context)),
        }
    }
}

/// Reports what became of a message.
fn acted(context: &RequestContext, action: &'static str, name: &str) {
    context.observers().layer_acted("cache", action, name);
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("entries", &self.answers.entry_count())
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .field("time_to_live", &self.time_to_live)
            .field("metadata", &self.metadata)
            .finish_non_exhaustive()
    }
}

/// Credentials in the metadata of messages (PROTOCOL 14), of this crate and of agenkit.
const CREDENTIALS: [&str; 4] = ["authorization", "token", "api_key", "authenticated_user"];
/// Entries that are never a part of the key.
const NEVER_KEYS: [&str; 6] = [
    "authorization",
    "token",
    "api_key",
    "authenticated_user",
    "trace_context",
    "idempotency_key",
];
/// Errors that say something about the first caller, and nothing about those that wait for it.
const OF_ONE_CALLER: [ErrorCode; 5] = [
    ErrorCode::AGENT_TIMEOUT,
    ErrorCode::CONNECTION_TIMEOUT,
    ErrorCode::RATE_LIMITED,
    ErrorCode::UNAUTHENTICATED,
    ErrorCode::PERMISSION_DENIED,
];
const DEFAULT_MAX_ENTRIES: u32 = 1000;
const DEFAULT_MAX_BYTES: u32 = 64 * 1024 * 1024;
const DEFAULT_TIME_TO_LIVE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::atomic::{AtomicU64, Ordering::SeqCst},
    };

    use futures_util::{FutureExt, StreamExt, future::join_all, stream};
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::{StreamFnAgent, agent_fn, stream_fn};

    const SECOND: Duration = Duration::from_secs(1);

    /// An agent whose answer is the number of its call, after as many milliseconds as the content
    /// says. A text is the code of an error.
    fn counting() -> (Arc<AtomicU64>, impl Agent) {
        let calls = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&calls);
        let agent = agent_fn("counting", move |message: Message| {
            let call = counter.fetch_add(1, SeqCst);
            async move {
                sleep(Duration::from_millis(
                    message.content.as_u64().unwrap_or(10),
                ))
                .await;
                match message.text() {
                    Some(code) => Err(AgentError::with_code(code, format!("call {call}"))),
                    None => Ok(Message::agent(call)),
                }
            }
        });
        (calls, agent)
    }

    fn number(answer: Result<Message, AgentError>) -> u64 {
        answer.unwrap().content.as_u64().unwrap()
    }

    /// Compares the cache with a map, for random messages, principals and times.
    #[tokio::test(start_paused = true)]
    async fn answers_are_those_of_a_naive_map() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (_, agent) = counting();
            let cache = Cache::new()
                .time_to_live(10 * SECOND)
                .metadata_key("language");
            let agent = agent.layer(cache.metadata_key("trace_context"));
            let mut known = HashMap::new();
            let mut next = 0;
            for _ in 0..400 {
                advance(Duration::from_millis(random.u64(0..500))).await;
                let (content, language) = (random.u64(0..6), random.u64(0..3));
                let (role, who) = (["user", "system"][random.usize(0..2)], random.u64(0..3));
                let trace = random.u64(..).to_string();
                let message = Message::new(role, content)
                    .with_metadata("trace_context", trace.clone())
                    .with_metadata("other", trace);
                let message = match language {
                    0 => message,
                    language => message.with_metadata("language", language),
                };
                let principal = (who > 0).then(|| Principal::new(who.to_string()));
                let context = RequestContext::new().with_principal(principal);
                let now = Instant::now();
                let answer = number(agent.process(message, context).await);
                let key = (content, language, role, who);
                match known.get(&key) {
                    Some(&(answer_before, stored)) if now < stored + 10 * SECOND => {
                        assert_eq!(answer, answer_before, "seed {seed}");
                    }
                    _ => {
                        assert_eq!(answer, next, "seed {seed}");
                        next += 1;
                        known.insert(key, (answer, Instant::now()));
                    }
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_messages_at_a_time_are_one_call_and_the_next_takes_over() {
        let (calls, agent) = counting();
        let cache = Arc::new(Cache::new());
        let agent = agent.layer(Arc::clone(&cache));
        let call = || agent.process(Message::user(100), RequestContext::new());
        let answers = join_all((0..10).map(|_| call())).await;
        assert!(answers.into_iter().all(|answer| number(answer) == 0));
        cache.clear();
        let mut first = Box::pin(call());
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(call());
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(number(second.await), 2);
        assert_eq!(calls.load(SeqCst), 3);
        assert_eq!(cache.flights.len(), 0);
    }

    /// Each caller starts the work anew when its turn comes, and gives up. A patient one waits.
    #[tokio::test(start_paused = true)]
    async fn a_caller_waits_while_any_number_of_others_give_up() {
        let (calls, agent) = counting();
        let cache = Arc::new(Cache::new());
        let agent = Arc::new(agent.layer(Arc::clone(&cache)));
        let call = |limit| {
            let agent = Arc::clone(&agent);
            let answer = async move {
                agent
                    .process(Message::user(10_000), RequestContext::new())
                    .await
            };
            tokio::spawn(timeout(limit, answer))
        };
        let mut impatient = Vec::new();
        for _ in 0..600 {
            impatient.push(call(SECOND));
            advance(Duration::from_millis(1)).await;
        }
        let patient = call(60 * SECOND);
        for caller in impatient {
            caller.await.unwrap().unwrap_err();
        }
        // All of them worked in turn, and then the last one.
        assert_eq!(number(patient.await.unwrap().unwrap()), 600);
        assert_eq!(calls.load(SeqCst), 601);
        assert_eq!(cache.flights.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_are_shared_but_not_stored_unless_they_concern_one_caller() {
        for (code, expected) in [("NO_SUCH_CITY", 1), ("RATE_LIMITED", 5)] {
            let (calls, agent) = counting();
            let agent = agent.layer(Cache::new());
            let call = || agent.process(Message::user(code), RequestContext::new());
            let answers = join_all((0..5).map(|_| call())).await;
            for answer in answers {
                assert_eq!(answer.unwrap_err().code().as_str(), code);
            }
            assert_eq!(calls.load(SeqCst), expected, "{code}");
            call().await.unwrap_err();
            assert_eq!(calls.load(SeqCst), expected + 1, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_streams_and_other_messages_pass_through() {
        let (calls, agent) = counting();
        let agent = agent.layer(Cache::new().only_if(|message| message.role == "user"));
        for key in CREDENTIALS {
            for _ in 0..2 {
                let message = Message::user(1).with_metadata(key, "secret");
                agent.process(message, RequestContext::new()).await.unwrap();
            }
        }
        assert_eq!(calls.swap(0, SeqCst), 8);
        for _ in 0..2 {
            let message = Message::new("system", 1);
            agent.process(message, RequestContext::new()).await.unwrap();
            let message = Message::user(1).with_metadata("token", "secret");
            let context = RequestContext::new().with_principal(Principal::new("alice"));
            agent.process(message, context).await.unwrap();
        }
        assert_eq!(calls.load(SeqCst), 3);
        let calls = AtomicU64::new(0);
        let streams: StreamFnAgent<_, _> = stream_fn("s", move |_: Message| {
            stream::iter([Ok(Message::agent(calls.fetch_add(1, SeqCst)))])
        });
        let streams = streams.layer(Cache::new());
        for expected in 0..2 {
            let answers = streams.stream(Message::user(1), RequestContext::new());
            let answers: Vec<_> = answers.map(number).collect().await;
            assert_eq!(answers, [expected]);
        }
    }

    #[tokio::test]
    async fn entries_and_bytes_are_bounded() {
        let echo = || agent_fn("echo", |message: Message| async move { Ok(message) });
        for (cache, size, most) in [
            (Cache::new().max_entries(10), 10, 10),
            (Cache::new().max_bytes(100_000), 10_000, 4),
            (Cache::new().max_bytes(1000), 10_000, 0),
        ] {
            let cache = Arc::new(cache);
            let agent = echo().layer(Arc::clone(&cache));
            for index in 0..100 {
                let text = format!("{index:0size$}");
                agent
                    .process(Message::user(text), RequestContext::new())
                    .await
                    .unwrap();
            }
            cache.answers.run_pending_tasks().await;
            assert!(cache.answers.entry_count() <= most, "{cache:?}");
        }
    }
}
