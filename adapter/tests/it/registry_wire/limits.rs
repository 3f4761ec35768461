//! The limits of a served registry, and what its clients do at them.

use std::time::Duration;

use super::{ServedRegistry, WATCH, agent, ask, chunk, names, respond, snapshot, snapshot_of};
use crate::common::{RawPeer, memory, until, within};
use agentwire::{
    map,
    registry::{
        InstanceRef, LimitKind, LocalRegistry, Registry, RegistryConfig, RegistryError,
        RegistryServer, RemoteRegistry, WatchScope,
    },
};
use agentwire_codec::Body;
use tokio::{
    runtime::Handle,
    task::yield_now,
    time::{sleep, timeout},
};

#[tokio::test]
async fn a_full_registry_names_its_limit() {
    let config = RegistryConfig::new().max_registrations(1);
    let registry = LocalRegistry::with_config(config).unwrap();
    let server = RegistryServer::serve(registry, memory("full"));
    let server = server.await.unwrap();
    let client = RemoteRegistry::new(server.endpoint()).unwrap();
    within(client.register(agent("a", 80))).await.unwrap();
    let error = within(client.register(agent("b", 80))).await.unwrap_err();
    let is_full = matches!(
        error,
        RegistryError::Full {
            max: 1,
            of: LimitKind::Registrations
        }
    );
    assert!(is_full, "{error:?}");
}

#[tokio::test]
async fn watches_leave_room_for_calls_and_end_when_dropped() {
    let served = ServedRegistry::start("many-watches").await;
    let client = served.client();
    let mut watches: Vec<_> = (0..100).map(|_| client.watch(WatchScope::All)).collect();
    for watch in &mut watches {
        snapshot(watch).await;
    }
    within(client.register(agent("weather", 80))).await.unwrap();
    let before = Handle::current().metrics().num_alive_tasks();
    assert!(before > 100, "{before}");
    drop(watches);
    until("the server has noticed", || {
        Handle::current().metrics().num_alive_tasks() < 10
    })
    .await;
    within(served.server.stop()).await;
}

/// Serves a registry whose two watches are both taken by the peers that it returns.
async fn watched(test: &str) -> (RegistryServer, LocalRegistry, Vec<RawPeer>) {
    let registry = LocalRegistry::new();
    let builder = RegistryServer::builder(registry.clone()).max_connections(4);
    let server = builder
        .max_watches(2)
        .endpoint(memory(test))
        .serve()
        .await
        .unwrap();
    let mut peers = Vec::new();
    for _ in 0..2 {
        let mut peer = RawPeer::connect(server.endpoint()).await;
        peer.send_frame(WATCH).await;
        assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("snapshot"));
        peers.push(peer);
    }
    (server, registry, peers)
}

#[tokio::test]
async fn watches_over_the_limit_are_refused_and_other_requests_are_served() {
    let (server, _registry, mut watching) = watched("watch-limit").await;
    let mut peer = RawPeer::connect(server.endpoint()).await;
    for _ in 0..3 {
        let refused = ask(&mut peer, "request", r#"{"method": "watch"}"#).await;
        let Body::Error(error) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(error.code.as_str(), "AGENT_UNAVAILABLE");
        assert_eq!(
            error.details,
            map! {"reason": "too_many_watches", "limit": 2}
        );
    }
    respond(&mut peer, "request", r#"{"method": "list"}"#).await;
    // A watch that ends makes room for another.
    watching.pop();
    let served = async {
        loop {
            peer.send_frame(WATCH).await;
            match peer.receive().await.body {
                Body::StreamChunk(_) => return,
                Body::Error(_) => yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    };
    within(served).await;
}

#[tokio::test(start_paused = true)]
async fn clients_whose_watches_are_refused_leave_room_and_try_again() {
    let (server, registry, mut watching) = watched("watches-wait").await;
    let client = || RemoteRegistry::new(server.endpoint()).unwrap();
    let mut refused = Vec::new();
    for _ in 0..5 {
        let mut watch = client().watch(WatchScope::All);
        let none = timeout(Duration::from_secs(8), watch.next()).await;
        assert!(none.is_err() && !watch.is_live(), "{none:?}");
        refused.push(watch);
    }
    let weather = agent("weather", 80);
    let which = InstanceRef::from(&weather);
    registry.register(weather).await.unwrap();
    // Each client would keep a connection of its own.
    let mut clients = Vec::new();
    for _ in 0..10 {
        let client = client();
        client.heartbeat(&which).await.unwrap();
        sleep(Duration::from_secs(11)).await;
        clients.push(client);
    }
    watching.pop();
    // Without the limit of `within`, because the paused clock advances by more than that.
    let (found, resync) = snapshot_of(refused[0].next().await);
    assert_eq!((names(&found), resync), (vec!["weather"], false));
    assert!(refused[0].is_live());
}
