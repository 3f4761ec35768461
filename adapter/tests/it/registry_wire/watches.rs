//! Watches: snapshots, events, keep-alive, and what happens when a connection is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{WATCH, agent, chunk, fill, names, snapshot, snapshot_of};
use crate::common::{Delegate, Hooks, RawPeer, error_of, memory, within};
use agentwire::{
    FrameLimits, Message, Value, map,
    registry::{
        LocalRegistry, Registry, RegistryConfig, RegistryServer, RemoteRegistry, Watch, WatchScope,
        backend::WatchExt,
    },
    transport::Listener,
};
use agentwire_codec::Body;
use futures_util::FutureExt;
use tokio::{
    task::yield_now,
    time::{Instant, sleep},
};

#[tokio::test]
async fn a_large_snapshot_is_split_and_arrives_whole() {
    let registry = LocalRegistry::new();
    fill(&registry, 300).await;
    // Each frame holds only a few registrations.
    let limits = FrameLimits::default().send(64 * 1024).receive(64 * 1024);
    let builder = RegistryServer::builder(registry).frame_limits(limits);
    let server = builder.endpoint(memory("snapshot")).serve().await.unwrap();
    let client = RemoteRegistry::builder(server.endpoint()).frame_limits(limits);
    let mut watch = client.build().unwrap().watch(WatchScope::All);
    let (found, resync) = snapshot(&mut watch).await;
    assert_eq!((found.len(), resync), (300, false));
    assert!(names(&found).is_sorted());
}

#[tokio::test]
async fn a_peer_that_does_not_read_gets_a_resync_in_place_of_missed_events() {
    let config = RegistryConfig::new().watch_buffer(16);
    let registry = LocalRegistry::with_config(config).unwrap();
    let server = RegistryServer::serve(registry.clone(), memory("no-read"));
    let server = server.await.unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    peer.send_frame(WATCH).await;
    assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("snapshot"));
    // Each event is larger than the buffers between the two.
    let weather = agent("weather", 80);
    for round in 0..500 {
        let registration = weather.clone().with_metadata("round", vec![round; 1000]);
        registry.register(registration).await.unwrap();
        yield_now().await;
    }
    let mut resyncs = 0;
    for _ in 0..500 {
        let event = chunk(&mut peer).await;
        resyncs += usize::from(event["resync"].as_bool() == Some(true));
        let last = match event["event"].as_str() {
            Some("snapshot") => &event["registrations"][0],
            _ => &event["registration"],
        };
        if last["metadata"]["round"][0].as_i64() == Some(499) {
            assert!(resyncs > 0, "no event was missed, so nothing is tested");
            return;
        }
    }
    panic!("the last registration never arrived");
}

#[tokio::test]
async fn a_watch_outlives_its_server_and_resyncs() {
    let endpoint = memory("restart");
    let first = LocalRegistry::new();
    let server = RegistryServer::serve(first.clone(), &endpoint)
        .await
        .unwrap();
    first.register(agent("weather", 80)).await.unwrap();
    let client = RemoteRegistry::new(&endpoint).unwrap();
    let mut watch = client.watch(WatchScope::All);
    assert_eq!(names(&snapshot(&mut watch).await.0), ["weather"]);
    within(server.stop()).await;
    let second = LocalRegistry::new();
    second.register(agent("echo", 81)).await.unwrap();
    let again = RegistryServer::serve(second.clone(), &endpoint)
        .await
        .unwrap();
    let (found, resync) = snapshot(&mut watch).await;
    assert_eq!((names(&found), resync), (vec!["echo"], true));

    // Once more, with a server that ends without closing its watches.
    within(again.abort()).await;
    let third = RegistryServer::serve(second, &endpoint).await.unwrap();
    let (found, resync) = snapshot(&mut watch).await;
    assert_eq!((names(&found), resync), (vec!["echo"], true));
    // A new watch has missed nothing.
    assert!(!snapshot(&mut client.watch(WatchScope::All)).await.1);
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_kept_alive_and_a_silent_one_is_replaced() {
    let registry = LocalRegistry::new();
    let server = RegistryServer::serve(registry.clone(), memory("alive"));
    let server = server.await.unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    peer.send_frame(WATCH).await;
    assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("snapshot"));
    for _ in 0..10 {
        assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("alive"));
    }

    // The client of a server that falls silent connects again.
    let endpoint = memory("silent");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let client = RemoteRegistry::new(&endpoint).unwrap();
    let mut watch = client.watch(WatchScope::name("weather"));
    let begin = map! {"event": "snapshot", "registrations": []};
    for round in 0..2 {
        let answering = async {
            let mut peer = RawPeer::accept(&mut listener).await;
            let asked = peer.receive().await;
            let Body::Request(request) = &asked.body else {
                panic!("{asked:?}")
            };
            assert_eq!(request.method(), Some("watch"));
            let chunk = Body::StreamChunk(Message::agent(begin.clone()));
            peer.reply(&asked.id, chunk).await;
            peer
        };
        // Without the limit of `within`, because the paused clock advances by more than that.
        let (_silent, event) = tokio::join!(answering, watch.next());
        let (_, resync) = snapshot_of(event);
        assert_eq!(resync, round > 0);
    }
}

#[tokio::test]
async fn an_event_inside_a_snapshot_ends_the_connection_but_not_the_watch() {
    let endpoint = memory("torn");
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let part = |names: &[&str], more: bool| {
        let all = names
            .iter()
            .map(|name| map! {"name": (*name), "endpoint": "tcp://h:1"});
        let all: Value = all.collect();
        map! {"event": "snapshot", "registrations": all, "more": more}
    };
    let joined = map! {"event": "joined", "registration": {"name": "b", "endpoint": "tcp://h:1"}};
    let first = vec![
        part(&[], false),
        part(&["a"], true),
        joined,
        part(&["c"], false),
    ];
    let second = vec![part(&["a", "b", "c"], false)];
    let telling = tokio::spawn(async move {
        let mut peers = Vec::new();
        for chunks in [first, second] {
            let mut peer = RawPeer::accept(&mut listener).await;
            let asked = peer.receive().await;
            for chunk in chunks {
                let chunk = Body::StreamChunk(Message::agent(chunk));
                peer.reply(&asked.id, chunk).await;
            }
            peers.push(peer);
        }
        peers
    });
    let mut watch = RemoteRegistry::new(endpoint)
        .unwrap()
        .watch(WatchScope::All);
    assert!(snapshot(&mut watch).await.0.is_empty());
    let (found, resync) = snapshot(&mut watch).await;
    assert_eq!((names(&found), resync), (vec!["a", "b", "c"], true));
    within(telling).await.unwrap();
}

/// Hooks of a registry whose watches start late, and whose liveness the test sets.
struct Liveness {
    is_live: Arc<AtomicBool>,
    start_delay: Duration,
}

impl Hooks for Liveness {
    fn watch(&self, inner: &LocalRegistry, scope: WatchScope) -> Watch {
        let is_live = Arc::clone(&self.is_live);
        let events = inner.watch(scope);
        let started = sleep(self.start_delay).map(move |()| events);
        Watch::new(started.flatten_stream()).with_liveness(move || is_live.load(Relaxed))
    }
}

/// Serves a registry and opens a watch of it by hand.
async fn watched_by_hand(liveness: Liveness, keep_alive: Duration) -> (RegistryServer, RawPeer) {
    let registry = Delegate::new(&LocalRegistry::new(), liveness);
    let builder = RegistryServer::builder(registry).keep_alive(keep_alive);
    let server = builder
        .endpoint(memory("watched-by-hand"))
        .serve()
        .await
        .unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    peer.send_frame(WATCH).await;
    (server, peer)
}

/// Waits for the next chunk of a watch, for up to two hours. Returns its event, or the code of its
/// error, and how many seconds it took.
async fn next_event(peer: &mut RawPeer) -> (Result<String, String>, f64) {
    let start = Instant::now();
    let envelope = peer.receive_within(Duration::from_secs(7200)).await;
    let event = match &envelope.body {
        Body::StreamChunk(message) => Ok(message.content["event"].as_str().unwrap().to_owned()),
        _ => Err(error_of(&envelope).0),
    };
    (event, start.elapsed().as_secs_f64())
}

/// Keep-alive intervals, in seconds. The protocol has 15.
const KEEP_ALIVE: [u64; 5] = [1, 7, 15, 20, 3600];

#[tokio::test(start_paused = true)]
async fn a_registry_that_lost_its_backend_says_so_whatever_its_keep_alive_interval() {
    for keep_alive in KEEP_ALIVE {
        let is_live = Arc::new(AtomicBool::new(true));
        let liveness = Liveness {
            is_live: Arc::clone(&is_live),
            start_delay: Duration::ZERO,
        };
        let (_server, mut peer) = watched_by_hand(liveness, Duration::from_secs(keep_alive)).await;
        assert_eq!(next_event(&mut peer).await.0.unwrap(), "snapshot");
        for _ in 0..5 {
            let (event, after) = next_event(&mut peer).await;
            assert_eq!(event.unwrap(), "alive");
            assert!((after - keep_alive as f64).abs() < 0.1, "{after}");
        }
        is_live.store(false, Relaxed);
        let mut total = 0.0;
        let code = loop {
            let (event, after) = next_event(&mut peer).await;
            total += after;
            match event {
                Ok(event) => assert_eq!(event, "alive"),
                Err(code) => break code,
            }
        };
        assert_eq!(code, "AGENT_UNAVAILABLE");
        assert!((total - 30.0).abs() < 0.1, "{total}, {keep_alive}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_may_take_90_seconds_for_its_first_snapshot() {
    for keep_alive in KEEP_ALIVE.map(Duration::from_secs) {
        for (start_delay, expected, when) in [
            (70, Ok("snapshot"), 70.0),
            (3600, Err("AGENT_UNAVAILABLE"), 90.0),
        ] {
            let liveness = Liveness {
                is_live: Arc::default(),
                start_delay: Duration::from_secs(start_delay),
            };
            let (_server, mut peer) = watched_by_hand(liveness, keep_alive).await;
            let (event, after) = next_event(&mut peer).await;
            assert_eq!(event.as_deref().map_err(String::as_str), expected);
            assert!((after - when).abs() < 0.1, "{after}, {keep_alive:?}");
        }
    }
}
