//! What the tests share: a bound on every wait, agents, and a peer that sends any bytes.

#![allow(
    dead_code,
    unused_imports,
    reason = "the binary `resources` uses a part of this"
)]
#![allow(clippy::expect_used, reason = "a test may stop at the first surprise")]

mod instances;
mod raw_peer;
mod registries;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use agentwire::{
    Agent, AgentError, Endpoint, Error, Map, Message, RemoteAgent, RemoteAgentBuilder,
    RequestContext, RetryPolicy, registry::RegistryError, transport::Listener,
};
use agentwire_codec::{Body, Call, Envelope, Format, Request, RequestId, put_frame};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use tokio::task::JoinHandle;

pub(crate) use self::{
    instances::{Instances, ask, ask_often, call_by_name, register_dead},
    raw_peer::RawPeer,
    registries::{Delegate, Hooks},
};

/// Nothing in these tests takes long; what takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it hangs")
}

/// A `memory://` endpoint that no other test uses.
pub(crate) fn memory(test: &str) -> Endpoint {
    Endpoint::memory(format!("{test}-{:016x}", fastrand::u64(..))).expect("a valid name")
}

/// An endpoint that no other test uses, and who listens there.
pub(crate) async fn listen(test: &str) -> (Endpoint, Listener) {
    let endpoint = memory(test);
    let listener = within(Listener::bind(&endpoint))
        .await
        .expect("a free name");
    (endpoint, listener)
}

/// A client whose calls share one connection, and that tries nothing again.
pub(crate) fn shared(endpoint: &Endpoint) -> RemoteAgentBuilder {
    RemoteAgent::builder(endpoint)
        .max_connections(1)
        .max_in_flight_per_connection(64)
        .retry(RetryPolicy::never())
}

/// Calls the agent with a text, in a task of its own.
pub(crate) fn call(remote: &RemoteAgent, text: &str) -> JoinHandle<Result<Message, Error>> {
    let (remote, message) = (remote.clone(), Message::user(text));
    tokio::spawn(async move { remote.process(message).await })
}

/// Answers as its message's metadata `do` says: `fail`, or else an echo. Streams `count` chunks, with an
/// error after `fail_after` of them.
pub(crate) struct ScriptedAgent;

impl Agent for ScriptedAgent {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        match message.metadata.get("do").and_then(|value| value.as_str()) {
            Some("fail") => Err(AgentError::with_code("OUT_OF_STOCK", "out of stock")
                .with_details(Map::from([("missing", 3)]))),
            Some("panic") => panic!("the agent panicked"),
            Some("slow") => {
                tokio::time::sleep(Duration::from_secs(10)).await;
                Ok(message)
            }
            Some("hang") => std::future::pending().await,
            _ => {
                let mut reply = Message::agent(message.content);
                reply.metadata = message.metadata;
                Ok(reply)
            }
        }
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let number = |key: &str| message.metadata.get(key).and_then(|value| value.as_u64());
        let (count, fail_after) = (number("count").unwrap_or(3), number("fail_after"));
        let content = message.content;
        let chunks = (0..count).map(move |i| match fail_after {
            Some(after) if after <= i => Err(AgentError::new(format!("failed after {after}"))),
            _ => Ok(Message::agent(content.clone()).with_metadata("i", i)),
        });
        stream::iter(chunks)
    }
}

/// Waits until something is so, which other tasks bring about.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    // By the system's clock: where time is paused, it stands still while this asks.
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        tokio::task::yield_now().await;
    }
}

/// The frame of a call of `process`.
pub(crate) fn process_frame(id: &str, message: Message) -> Bytes {
    frame(&Envelope::new(
        RequestId::from(id),
        Request::Process(Call::new("", message)),
    ))
}

pub(crate) fn frame(envelope: &Envelope) -> Bytes {
    let mut buffer = Vec::new();
    put_frame(&mut buffer, usize::MAX, |buffer| {
        Format::Json.encode(envelope, buffer)
    })
    .expect("a valid envelope");
    buffer.into()
}

/// Code, text and id of an error envelope.
pub(crate) fn error_of(envelope: &Envelope) -> (String, String, String) {
    match &envelope.body {
        Body::Error(error) => (
            error.code.to_string(),
            error.message.clone(),
            envelope.id.to_string(),
        ),
        other => panic!("expected an error, got {other:?}"),
    }
}

/// What a registry said, among all that caused an error.
pub(crate) fn registry_error(error: &Error) -> Option<&RegistryError> {
    let first: Option<&dyn std::error::Error> = Some(error);
    std::iter::successors(first, |error| error.source()).find_map(|error| error.downcast_ref())
}
