//! Peers that try to use up a registry, and registries that try to use up their clients.

use agentwire::registry::{
    LocalRegistry, QuotaKind, Registration, Registry, RegistryError, RegistryServer,
    RemoteRegistry, WatchScope,
};
use agentwire_codec::Body;

use crate::common::{RawPeer, within};

async fn serve() -> (RegistryServer, LocalRegistry) {
    let registry = LocalRegistry::new();
    let server = RegistryServer::serve(registry.clone(), "tcp://127.0.0.1:0");
    (within(server).await.unwrap(), registry)
}

fn envelope(kind: &str, payload: &str) -> Vec<u8> {
    format!(r#"{{"version": "1.0", "type": "{kind}", "id": "7", "payload": {payload}}}"#).into()
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

/// The default quotas of a registry server.
const CONNECTION_REGISTRATIONS: usize = 1024;
const CONNECTION_WATCHES: usize = 16;

/// The connections of a peer that would hold all 2,048 watches without quotas.
const CONNECTIONS: usize = 32;
const MAX_IN_FLIGHT: usize = 64;
