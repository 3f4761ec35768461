//! What registries say on the wire (PROTOCOL 12).

mod answers;
mod by_hand;
mod limits;
mod pages;
mod watches;

use std::sync::Arc;

use crate::common::{RawPeer, memory, within};
use agentwire::{
    Endpoint, Map, Value,
    registry::{
        Event, LocalRegistry, Registration, Registry, RegistryError, RegistryServer,
        RemoteRegistry, Watch,
    },
    transport::Listener,
};
use agentwire_codec::{Body, Response};
use futures_util::{Stream, StreamExt};

/// A local registry and the server in front of it.
struct ServedRegistry {
    server: RegistryServer,
    registry: LocalRegistry,
}

impl ServedRegistry {
    async fn start(test: &str) -> Self {
        let registry = LocalRegistry::new();
        let server = RegistryServer::serve(registry.clone(), memory(test));
        Self {
            server: server.await.unwrap(),
            registry,
        }
    }

    async fn peer(&self) -> RawPeer {
        RawPeer::connect(self.server.endpoint()).await
    }

    fn client(&self) -> RemoteRegistry {
        RemoteRegistry::new(self.server.endpoint()).unwrap()
    }
}

/// A client of a registry that answers each request with the next of `answers`.
async fn scripted(
    test: &str,
    answers: impl Stream<Item = Body> + Send + 'static,
) -> RemoteRegistry {
    let endpoint = memory(test);
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    tokio::spawn(async move {
        let mut answers = Box::pin(answers);
        let mut peer = RawPeer::accept(&mut listener).await;
        while let Some(answer) = answers.next().await {
            let request = peer.receive().await;
            peer.reply(&request.id, answer).await;
        }
        std::future::pending::<()>().await;
    });
    RemoteRegistry::new(endpoint).unwrap()
}

/// Sends one envelope and returns the body of the answer.
async fn ask(peer: &mut RawPeer, kind: &str, payload: &str) -> Body {
    let envelope =
        format!(r#"{{"version": "1.0", "type": "{kind}", "id": "7", "payload": {payload}}}"#);
    peer.send_frame(envelope.as_bytes()).await;
    let answer = peer.receive().await;
    assert_eq!(answer.id.to_string(), "7");
    answer.body
}

/// Sends one envelope and returns the payload of the response.
async fn respond(peer: &mut RawPeer, kind: &str, payload: &str) -> Map {
    match ask(peer, kind, payload).await {
        Body::Response(Response::Other(answer)) => answer,
        other => panic!("{payload}: {other:?}"),
    }
}

/// Returns the content of the next chunk of a watch.
async fn chunk(peer: &mut RawPeer) -> Value {
    match peer.receive().await.body {
        Body::StreamChunk(message) => message.content,
        other => panic!("{other:?}"),
    }
}

/// Waits for the next event of a watch, which must be a snapshot; the flag tells whether it is a
/// resync.
async fn snapshot(watch: &mut Watch) -> (Vec<Arc<Registration>>, bool) {
    snapshot_of(within(watch.next()).await)
}

fn snapshot_of(event: Option<Result<Event, RegistryError>>) -> (Vec<Arc<Registration>>, bool) {
    match event.unwrap().unwrap() {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => (registrations, resync),
        other => panic!("{other:?}"),
    }
}

/// Registers agents that take about 2 KiB of JSON each.
async fn fill(registry: &LocalRegistry, count: u16) {
    for number in 0..count {
        let name = format!("agent {number:05}");
        let large = agent(&name, number + 1).with_metadata("text", "x".repeat(2000));
        registry.register(large).await.unwrap();
    }
}

fn agent(name: &str, port: u16) -> Registration {
    Registration::new(name, Endpoint::tcp("198.51.100.1", port).unwrap())
}

fn names(found: &[Arc<Registration>]) -> Vec<&str> {
    found.iter().map(|found| &*found.name).collect()
}

/// A request that opens a watch of everything.
const WATCH: &[u8] =
    br#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "watch"}}"#;
