//! What the tests share: bounded waits, agents, registries, and a peer that sends any bytes.

mod frames;
mod instances;
mod log;
mod raw_peer;
mod registries;
mod scripted_agent;
mod waiting;

use agentwire::{
    Endpoint, Error, Message, RemoteAgent, RemoteAgentBuilder, RetryPolicy,
    registry::RegistryError, transport::Listener,
};
use agentwire_codec::{Body, Envelope};
use tokio::task::JoinHandle;

pub(crate) use self::{
    frames::{frame, process_frame, stream_frame},
    instances::{Instances, ask, ask_often, call_by_name, register_dead},
    log::logged,
    raw_peer::RawPeer,
    registries::{Delegate, Hooks},
    scripted_agent::ScriptedAgent,
    waiting::{until, within},
};

/// A `memory://` endpoint that no other test uses.
pub(crate) fn memory(test: &str) -> Endpoint {
    Endpoint::memory(format!("{test}-{:016x}", fastrand::u64(..))).expect("a valid name")
}

/// An endpoint that no other test uses, and a listener at it.
pub(crate) async fn listen(test: &str) -> (Endpoint, Listener) {
    let endpoint = memory(test);
    let listener = within(Listener::bind(&endpoint))
        .await
        .expect("a free name");
    (endpoint, listener)
}

/// A client whose calls share one connection and are never retried.
pub(crate) fn shared(endpoint: &Endpoint) -> RemoteAgentBuilder {
    RemoteAgent::builder(endpoint)
        .max_connections(1)
        .max_in_flight_per_connection(64)
        .retry(RetryPolicy::never())
}

/// Calls the agent with a text, in a separate task.
pub(crate) fn call(remote: &RemoteAgent, text: &str) -> JoinHandle<Result<Message, Error>> {
    let (remote, message) = (remote.clone(), Message::user(text));
    tokio::spawn(async move { remote.process(message).await })
}

/// Returns code, message and id of an error envelope.
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

/// Finds the registry error in the source chain of an error.
pub(crate) fn registry_error(error: &Error) -> Option<&RegistryError> {
    let first: Option<&dyn std::error::Error> = Some(error);
    std::iter::successors(first, |error| error.source()).find_map(|error| error.downcast_ref())
}
