//! Peers that try to use up a registry, and registries that try to use up their clients.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    Endpoint,
    registry::{
        LocalRegistry, QuotaKind, Registration, Registry, RegistryError, RegistryServer,
        RemoteRegistry, WatchScope,
    },
    transport::Listener,
};
use agentwire_codec::Body;
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, sleep},
};

use crate::common::{RawPeer, memory, within};

async fn serve() -> (RegistryServer, LocalRegistry) {
    let registry = LocalRegistry::new();
    let server = RegistryServer::serve(registry.clone(), "tcp://127.0.0.1:0");
    (within(server).await.unwrap(), registry)
}

fn envelope(kind: &str, payload: &str) -> Vec<u8> {
    format!(r#"{{"version": "1.0", "type": "{kind}", "id": "7", "payload": {payload}}}"#).into()
}

#[tokio::test]
async fn a_registry_refuses_a_frame_over_1_mib_at_its_header() {
    let (server, _) = serve().await;
    let mut peer = RawPeer::connect(server.endpoint()).await;
    let header = 1_048_577_u32.to_be_bytes();
    peer.connection.write_all(&header).await.unwrap();
    let Body::Error(error) = peer.receive().await.body else {
        panic!("not an error");
    };
    assert_eq!(error.details["limit"].as_u64(), Some(1_048_576));
}

#[tokio::test]
async fn one_connection_cannot_fill_a_registry() {
    let (server, registry) = serve().await;
    let mut peer = RawPeer::connect(server.endpoint()).await;
    let mut refused = 0;
    for number in 0..CONNECTION_REGISTRATIONS + 100 {
        let payload =
            format!(r#"{{"agent_name": "a {number}", "endpoint": "tcp://198.51.100.1:80"}}"#);
        peer.send_frame(&envelope("register", &payload)).await;
        if let Body::Error(error) = peer.receive().await.body {
            assert_eq!(error.code.as_str(), "REGISTRATION_FAILED");
            assert_eq!(error.details["reason"].as_str(), Some("quota"));
            let of = error.details["of"].as_str();
            assert_eq!(of, Some("registrations_per_connection"));
            refused += 1;
        }
    }
    assert_eq!(refused, 100);
    let all = registry.list().await.unwrap();
    assert_eq!(all.len(), CONNECTION_REGISTRATIONS);
    // Another connection is served, and what leaves makes room.
    let honest = RemoteRegistry::new(server.endpoint()).unwrap();
    let endpoint = "tcp://198.51.100.2:80".parse().unwrap();
    let honest = honest.register(Registration::new("honest", endpoint));
    within(honest).await.unwrap();
    let gone = r#"{"agent_name": "a 0", "endpoint": "tcp://198.51.100.1:80"}"#;
    for kind in ["unregister", "register"] {
        peer.send_frame(&envelope(kind, gone)).await;
        assert!(matches!(peer.receive().await.body, Body::Response(_)));
    }
}

#[tokio::test]
async fn a_peer_has_a_share_of_the_registrations_whatever_its_connections() {
    let registry = LocalRegistry::new();
    let server = RegistryServer::builder(registry.clone())
        .max_registrations_per_peer(5)
        .endpoint("tcp://127.0.0.1:0");
    let server = within(server.serve()).await.unwrap();
    for number in 0..8 {
        let client = RemoteRegistry::new(server.endpoint()).unwrap();
        let endpoint = "tcp://198.51.100.1:80".parse().unwrap();
        let registration = Registration::new(format!("a {number}"), endpoint);
        match within(client.register(registration)).await {
            Ok(_) => assert!(number < 5),
            Err(RegistryError::QuotaReached { max: 5, of }) => {
                assert!(number >= 5 && of == QuotaKind::RegistrationsPerPeer);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(registry.list().await.unwrap().len(), 5);
}

#[tokio::test]
async fn some_connections_cannot_hold_all_watches() {
    let (server, _registry) = serve().await;
    let mut peers = Vec::new();
    let mut accepted = 0;
    for _ in 0..CONNECTIONS {
        let mut peer = RawPeer::connect(server.endpoint()).await;
        for _ in 0..MAX_IN_FLIGHT {
            let watch = envelope("request", r#"{"method": "watch"}"#);
            peer.send_frame(&watch).await;
            match peer.receive().await.body {
                Body::StreamChunk(_) => accepted += 1,
                Body::Error(error) => {
                    let of = error.details["of"].as_str();
                    assert_eq!(of, Some("watches_per_connection"));
                }
                other => panic!("{other:?}"),
            }
        }
        peers.push(peer);
    }
    assert_eq!(accepted, CONNECTIONS * CONNECTION_WATCHES);
    let honest = RemoteRegistry::new(server.endpoint()).unwrap();
    let mut watch = honest.watch(WatchScope::All);
    within(watch.next()).await.unwrap().unwrap();
}

/// Sends answers of a hostile registry to each request until the client closes the connection.
/// Returns how many bytes of pages were sent.
async fn endless(
    answer: impl Fn(&str) -> String + Send + 'static,
    endpoint: &Endpoint,
) -> Arc<AtomicUsize> {
    let mut listener = Listener::bind(endpoint).await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    tokio::spawn(async move {
        let mut peer = RawPeer::accept(&mut listener).await;
        loop {
            let Some(request) = peer.receive_or_end().await else {
                return;
            };
            let is_watch = matches!(&request.body, Body::Request(request)
                if request.method() == Some("watch"));
            let payload = answer(&request.id.to_string());
            loop {
                let frame = put(payload.as_bytes());
                if peer.connection.write_all(&frame).await.is_err() {
                    return;
                }
                counter.fetch_add(payload.len(), Relaxed);
                if !is_watch {
                    break;
                }
            }
        }
    });
    sent
}

fn put(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len, payload].concat()
}

/// One registration whose metadata are many small integers.
fn page() -> String {
    let zeros = vec!["0"; PAGE_VALUES].join(",");
    format!(r#"[{{"name": "a", "endpoint": "tcp://h:1", "metadata": {{"x": [{zeros}]}}}}]"#)
}

#[tokio::test]
async fn a_list_that_never_ends_stops_at_the_budget_of_its_reader() {
    let endpoint = memory("endless-list");
    let page = page();
    let answer = move |id: &str| {
        format!(
            r#"{{"version": "1.0", "type": "response", "id": "{id}",
                "payload": {{"registrations": {page}, "next": {{}}}}}}"#
        )
    };
    let sent = endless(answer, &endpoint).await;
    let client = RemoteRegistry::builder(&endpoint).max_list_size(BUDGET);
    let error = within(client.build().unwrap().list()).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::AnswerTooLarge { max: BUDGET, .. }),
        "{error:?}"
    );
    assert!(sent.load(Relaxed) <= BUDGET);
}

#[tokio::test]
async fn a_snapshot_that_never_ends_stops_at_the_budget_of_its_reader() {
    let endpoint = memory("endless-snapshot");
    let page = page();
    let answer = move |id: &str| {
        format!(
            r#"{{"version": "1.0", "type": "stream_chunk", "id": "{id}",
                "payload": {{"message": {{"role": "agent", "content": {{"event": "snapshot",
                "registrations": {page}, "more": true}}}}}}}}"#
        )
    };
    let sent = endless(answer, &endpoint).await;
    let client = RemoteRegistry::builder(&endpoint).max_list_size(BUDGET);
    let mut watch = client.build().unwrap().watch(WatchScope::All);
    let error = within(watch.next()).await.unwrap().unwrap_err();
    assert!(
        matches!(error, RegistryError::AnswerTooLarge { max: BUDGET, .. }),
        "{error:?}"
    );
    assert!(within(watch.next()).await.is_none());
    assert!(sent.load(Relaxed) <= BUDGET);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_never_complete_is_given_up() {
    for content in [
        r#"{"event": "snapshot", "registrations": [], "more": true}"#,
        r#"{"event": "alive"}"#,
    ] {
        let endpoint = memory("late-snapshot");
        let mut listener = Listener::bind(&endpoint).await.unwrap();
        let client = RemoteRegistry::new(&endpoint).unwrap();
        let watching = tokio::spawn(async move {
            let mut watch = client.watch(WatchScope::All);
            watch.next().await.is_none()
        });
        let mut peer = RawPeer::accept(&mut listener).await;
        let id = peer.receive().await.id;
        let started = Instant::now();
        let payload = format!(
            r#"{{"version": "1.0", "type": "stream_chunk", "id": "{id}",
                "payload": {{"message": {{"role": "agent", "content": {content}}}}}}}"#
        );
        // One chunk in a second is never silent.
        while peer
            .connection
            .write_all(&put(payload.as_bytes()))
            .await
            .is_ok()
        {
            assert!(started.elapsed() < LIST_TIMEOUT + Duration::from_secs(5));
            sleep(Duration::from_secs(1)).await;
        }
        // The watch connects again.
        RawPeer::accept(&mut listener).await;
        watching.abort();
    }
}

const BUDGET: usize = 4 * 1024 * 1024;
const PAGE_VALUES: usize = 10_000;

/// The default time of a client for a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);

/// The default quotas of a registry server.
const CONNECTION_REGISTRATIONS: usize = 1024;
const CONNECTION_WATCHES: usize = 16;

/// The connections of a peer that would hold all 2,048 watches without quotas.
const CONNECTIONS: usize = 32;
const MAX_IN_FLIGHT: usize = 64;
