//! What a registry says on the wire (PROTOCOL 12), to peers that write it by hand and to those that mean harm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::common::{RawPeer, ScriptedAgent, error_of, frame, memory, until, within};
use agentwire::{
    Endpoint, FrameLimits, LocalAgent, Map, Message, Value, map,
    registry::{
        Event, InstanceRef, Lease, LimitKind, LocalRegistry, Query, Registration, Registry,
        RegistryConfig, RegistryError, RegistryServer, RemoteRegistry, Watch, WatchScope,
    },
    transport::Listener,
    value,
};
use agentwire_codec::{Body, Envelope, Response};
use futures_util::{FutureExt, stream};
use tokio::{
    runtime::Handle,
    task::{JoinHandle, yield_now},
    time::{Instant, sleep, timeout},
};

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

fn agent(name: &str, port: u16) -> Registration {
    Registration::new(name, Endpoint::tcp("198.51.100.1", port).unwrap())
}

/// Sends one envelope and gives what comes back.
async fn ask(peer: &mut RawPeer, kind: &str, payload: &str) -> Body {
    let envelope =
        format!(r#"{{"version": "1.0", "type": "{kind}", "id": "7", "payload": {payload}}}"#);
    peer.send_frame(envelope.as_bytes()).await;
    let answer = peer.receive().await;
    assert_eq!(answer.id.to_string(), "7");
    answer.body
}

/// The payload of the response.
async fn told(peer: &mut RawPeer, kind: &str, payload: &str) -> Map {
    match ask(peer, kind, payload).await {
        Body::Response(Response::Other(answer)) => answer,
        other => panic!("{payload}: {other:?}"),
    }
}

/// The content of the next chunk of a watch.
async fn chunk(peer: &mut RawPeer) -> Value {
    match peer.receive().await.body {
        Body::StreamChunk(message) => message.content,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_four_lines_of_python_send_is_enough() {
    let served = ServedRegistry::start("by-hand").await;
    let mut peer = served.peer().await;
    let register = r#"{"agent_name": "weather", "capabilities": {"languages": ["en"]}, "endpoint": "tcp://198.51.100.1:80", "metadata": {"zone": "b"}}"#;
    for _ in 0..2 {
        let answer = told(&mut peer, "register", register).await;
        let expected = map! {"lease_seconds": 90.0, "heartbeat_seconds": 30.0};
        assert_eq!(answer, expected);
    }
    let beat = r#"{"agent_name": "weather", "status": "healthy"}"#;
    assert_eq!(told(&mut peer, "heartbeat", beat).await, Map::new());

    let lookup = r#"{"method": "lookup", "agent_name": "weather"}"#;
    let answer = told(&mut peer, "request", lookup).await;
    let found = &answer["registrations"][0];
    let keys: Vec<_> = found.as_map().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "name",
            "endpoint",
            "instance",
            "capabilities",
            "metadata",
            "registered_at",
            "last_heartbeat"
        ]
    );
    assert_eq!(found["endpoint"].as_str(), Some("tcp://198.51.100.1:80"));
    assert_eq!(found["capabilities"]["languages"][0].as_str(), Some("en"));
    assert!(!answer.contains_key("next"));

    let find = r#"{"method": "find", "query": {"capabilities": ["languages.en"], "metadata": {"zone": "b"}}}"#;
    for (method, count) in [
        (r#"{"method": "list"}"#, 1),
        (find, 1),
        (r#"{"method": "find"}"#, 1),
        (r#"{"method": "find", "query": {"name": "nobody"}}"#, 0),
        (r#"{"method": "lookup", "agent_name": "nobody"}"#, 0),
    ] {
        let answer = told(&mut peer, "request", method).await;
        let list = answer["registrations"].as_list().unwrap();
        assert_eq!(list.len(), count, "{method}");
    }
    for _ in 0..2 {
        let leave = r#"{"agent_name": "weather"}"#;
        assert_eq!(told(&mut peer, "unregister", leave).await, Map::new());
    }
    let gone = ask(&mut peer, "heartbeat", beat).await;
    let Body::Error(gone) = gone else {
        panic!("{gone:?}")
    };
    assert_eq!(gone.code.as_str(), "AGENT_NOT_FOUND");
    let expected = map! {"reason": "not_registered", "agent_name": "weather"};
    assert_eq!(gone.details, expected);
}

#[tokio::test]
async fn a_watch_by_hand_reads_like_any_stream() {
    let served = ServedRegistry::start("watch-by-hand").await;
    let weather = agent("weather", 80).with_version("1.2.3".parse().unwrap());
    served.registry.register(weather.clone()).await.unwrap();
    let mut peer = served.peer().await;
    peer.send_frame(
        br#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "watch"}}"#,
    )
    .await;
    let first = chunk(&mut peer).await;
    assert_eq!(first["event"].as_str(), Some("snapshot"));
    assert_eq!(first["more"].as_bool(), Some(false));
    assert_eq!(first["resync"].as_bool(), Some(false));
    assert_eq!(first["registrations"][0]["name"].as_str(), Some("weather"));
    let which = InstanceRef::from(&weather);
    served.registry.unregister(&which).await.unwrap();
    let second = chunk(&mut peer).await;
    assert_eq!(second["event"].as_str(), Some("left"));
    assert_eq!(second["registration"]["version"].as_str(), Some("1.2.3"));
    // Other requests of the same connection are answered meanwhile, and the end of the server ends the stream.
    assert!(
        told(&mut peer, "request", r#"{"method": "list"}"#).await["registrations"]
            .as_list()
            .unwrap()
            .is_empty()
    );
    within(served.server.stop()).await;
    assert!(matches!(peer.receive().await.body, Body::StreamEnd));
    peer.receive_end().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_answered_and_harms_nobody() {
    let served = ServedRegistry::start("nonsense").await;
    let mut peer = served.peer().await;
    let big = format!(
        r#"{{"agent_name": "a", "endpoint": "tcp://h:1", "metadata": {{"x": "{}"}}}}"#,
        "x".repeat(70_000)
    );
    let far = format!(
        r#"{{"agent_name": "a", "endpoint": "memory://{}"}}"#,
        "x".repeat(2000)
    );
    let deep = format!(
        r#"{{"agent_name": "a", "endpoint": "tcp://h:1", "metadata": {{"x": {}{}}}}}"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    for (kind, payload, code) in [
        ("register", "{}", "REGISTRATION_FAILED"),
        ("register", r#"{"agent_name": "a"}"#, "REGISTRATION_FAILED"),
        (
            "register",
            r#"{"agent_name": "", "endpoint": "tcp://h:1"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "tcp://h:0"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "ws://h:1"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "tcp://h:1", "version": "x"}"#,
            "REGISTRATION_FAILED",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "tcp://h:1", "metadata": {"n": 123456789012345678901234567890}}"#,
            "REGISTRATION_FAILED",
        ),
        ("register", r#"{"agent_name": 5}"#, "MALFORMED_PAYLOAD"),
        ("register", &big, "REGISTRATION_FAILED"),
        ("register", &far, "REGISTRATION_FAILED"),
        ("register", &deep, "REGISTRATION_FAILED"),
        ("heartbeat", "{}", "REGISTRATION_FAILED"),
        (
            "heartbeat",
            r#"{"agent_name": "a", "endpoint": "nowhere"}"#,
            "REGISTRATION_FAILED",
        ),
        ("heartbeat", r#"{"agent_name": "a"}"#, "AGENT_NOT_FOUND"),
        ("unregister", "{}", "REGISTRATION_FAILED"),
        ("unregister", r#"{"agent_name": []}"#, "MALFORMED_PAYLOAD"),
        ("request", r#"{"method": "lookup"}"#, "REGISTRATION_FAILED"),
        (
            "request",
            r#"{"method": "lookup", "agent_name": 5}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "find", "query": 5}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "find", "query": {"version": "newest"}}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "list", "after": {}}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "watch", "agent_name": 5}"#,
            "MALFORMED_PAYLOAD",
        ),
        (
            "request",
            r#"{"method": "watch", "agent_name": " a"}"#,
            "REGISTRATION_FAILED",
        ),
        ("request", r#"{"method": "dance"}"#, "INVALID_MESSAGE"),
        ("request", r#"{"method": 5}"#, "INVALID_MESSAGE"),
        ("request", "{}", "INVALID_MESSAGE"),
        (
            "request",
            r#"{"method": "process", "message": {"role": "user", "content": 1}}"#,
            "INVALID_MESSAGE",
        ),
        ("response", "{}", "INVALID_MESSAGE"),
        ("stream_end", "{}", "INVALID_MESSAGE"),
    ] {
        let answer = ask(&mut peer, kind, payload).await;
        let Body::Error(error) = answer else {
            panic!("{kind} {payload}: {answer:?}");
        };
        assert_eq!(error.code.as_str(), code, "{kind} {payload}: {error}");
        assert!(!error.message.is_empty());
    }
    assert!(served.registry.list().await.unwrap().is_empty());
    let unknown = ask(&mut peer, "request", r#"{"method": "dance"}"#).await;
    let Body::Error(unknown) = unknown else {
        panic!("{unknown:?}")
    };
    assert_eq!(unknown.message, "Unknown method: dance");
}

#[tokio::test]
async fn bytes_that_are_no_envelope_are_answered_as_by_any_server() {
    let served = ServedRegistry::start("bytes").await;
    let mut peer = served.peer().await;
    peer.send_frame(b"not an envelope").await;
    let (code, _, id) = error_of(&peer.receive().await);
    assert_eq!((&*code, &*id), ("MALFORMED_PAYLOAD", "unknown"));
    peer.send(&u32::MAX.to_be_bytes()).await;
    assert_eq!(error_of(&peer.receive().await).0, "MALFORMED_PAYLOAD");
    peer.receive_end().await;
}

/// About 2 KiB each as JSON.
async fn fill(registry: &LocalRegistry, count: u16) {
    for number in 0..count {
        let name = format!("agent {number:05}");
        let large = agent(&name, number + 1).with_metadata("text", "x".repeat(2000));
        registry.register(large).await.unwrap();
    }
}

fn names(found: &[Arc<Registration>]) -> Vec<&str> {
    found.iter().map(|found| &*found.name).collect()
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_in_order() {
    let served = ServedRegistry::start("pages").await;
    fill(&served.registry, 1000).await;
    let client = served.client();
    let listed = within(client.list()).await.unwrap();
    assert_eq!(listed.len(), 1000);
    assert!(names(&listed).is_sorted());
    let found = within(client.find(&Query::new().metadata("text", "x".repeat(2000)))).await;
    assert_eq!(found.unwrap().len(), 1000);

    let mut peer = served.peer().await;
    let answer = told(&mut peer, "request", r#"{"method": "list"}"#).await;
    let page = answer["registrations"].as_list().unwrap();
    assert!(page.len() > 100 && page.len() < 200, "{}", page.len());
    assert_eq!(answer["next"]["name"], page[page.len() - 1]["name"]);
}

#[tokio::test]
async fn a_large_snapshot_is_split_and_comes_whole() {
    let registry = LocalRegistry::new();
    fill(&registry, 300).await;
    // Frames that hold no more than a few of them.
    let limits = FrameLimits::default().send(64 * 1024).receive(64 * 1024);
    let builder = RegistryServer::builder(registry).frame_limits(limits);
    let server = builder.serve(memory("snapshot")).await.unwrap();
    let client = RemoteRegistry::builder(server.endpoint()).frame_limits(limits);
    let mut watch = client.build().unwrap().watch(WatchScope::All);
    let (found, resync) = snapshot(&mut watch).await;
    assert_eq!((found.len(), resync), (300, false));
    assert!(names(&found).is_sorted());
}

async fn snapshot(watch: &mut Watch) -> (Vec<Arc<Registration>>, bool) {
    match within(watch.next()).await.unwrap().unwrap() {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => (registrations, resync),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_a_resync_in_place_of_what_it_missed() {
    let config = RegistryConfig::new().watch_buffer(16);
    let registry = LocalRegistry::with_config(config).unwrap();
    let server = RegistryServer::serve(registry.clone(), memory("no-read"));
    let server = server.await.unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    peer.send_frame(
        br#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "watch"}}"#,
    )
    .await;
    assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("snapshot"));
    // Each of them alone says more than the buffers in between hold of it.
    for round in 0..500 {
        let registration = agent("weather", 80).with_metadata("round", vec![round; 1000]);
        registry.register(registration).await.unwrap();
        yield_now().await;
    }
    let mut resyncs = 0;
    for _ in 0..500 {
        let told = chunk(&mut peer).await;
        resyncs += usize::from(told["resync"].as_bool() == Some(true));
        let last = match told["event"].as_str() {
            Some("snapshot") => &told["registrations"][0],
            _ => &told["registration"],
        };
        if last["metadata"]["round"][0].as_i64() == Some(499) {
            assert!(resyncs > 0, "nothing was missed, so nothing is tested");
            return;
        }
    }
    panic!("the last one never came");
}

#[tokio::test]
async fn a_watch_outlives_its_server_and_says_where_it_was_lost() {
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

    // And once more, without a word of farewell.
    within(again.abort()).await;
    let third = RegistryServer::serve(second, &endpoint).await.unwrap();
    let (found, resync) = snapshot(&mut watch).await;
    assert_eq!((names(&found), resync), (vec!["echo"], true));
    // A watch that begins now has missed nothing.
    assert!(!snapshot(&mut client.watch(WatchScope::All)).await.1);
    drop(third);
}

#[tokio::test(start_paused = true)]
async fn a_watch_says_that_it_lives_and_one_that_does_not_is_replaced() {
    let registry = LocalRegistry::new();
    let server = RegistryServer::serve(registry.clone(), memory("alive"));
    let server = server.await.unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    peer.send_frame(
        br#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "watch"}}"#,
    )
    .await;
    assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("snapshot"));
    for _ in 0..10 {
        assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("alive"));
    }

    // A server that falls silent: its client connects again.
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
            assert_eq!(request.method().as_str(), Some("watch"));
            let told = Body::StreamChunk(Message::agent(begin.clone()));
            let envelope = Envelope::new(asked.id, told);
            peer.send(&frame(&envelope)).await;
            peer
        };
        let (_silent, (_, resync)) = tokio::join!(answering, snapshot_in_time(&mut watch));
        assert_eq!(resync, round > 0);
    }
}

/// With time that moves on by itself, no limit of the test's own.
async fn snapshot_in_time(watch: &mut Watch) -> (Vec<Arc<Registration>>, bool) {
    match watch.next().await.unwrap().unwrap() {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => (registrations, resync),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_of_agents_is_known_to_be_no_registry() {
    let server = LocalAgent::serve(ScriptedAgent, memory("no-registry"))
        .await
        .unwrap();
    let client = RemoteRegistry::new(server.endpoint()).unwrap();
    let errors = [
        within(client.register(agent("weather", 80)))
            .await
            .map(drop),
        within(client.heartbeat(&InstanceRef::new("weather"))).await,
        within(client.lookup("weather")).await.map(drop),
        within(client.watch(WatchScope::All).next())
            .await
            .unwrap()
            .map(drop),
    ];
    for error in errors {
        let error = error.unwrap_err();
        assert!(
            matches!(error, RegistryError::NotARegistry { .. }),
            "{error:?}"
        );
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let client = RemoteRegistry::builder(memory("nobody")).timeout(Duration::from_millis(50));
    let client = client.build().unwrap();
    let error = within(client.lookup("weather")).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("memory://nobody"), "{error}");
}

/// A registry that answers everything in one way.
async fn scripted(test: &str, payload: Map) -> (RemoteRegistry, JoinHandle<()>) {
    let endpoint = memory(test);
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let answering = tokio::spawn(async move {
        let mut peer = RawPeer::accept(&mut listener).await;
        loop {
            let asked = peer.receive().await;
            let answer = Response::Other(payload.clone());
            let envelope = Envelope::new(asked.id, answer);
            peer.send(&frame(&envelope)).await;
        }
    });
    (RemoteRegistry::new(endpoint).unwrap(), answering)
}

#[tokio::test]
async fn answers_that_make_no_sense_are_named() {
    let endless = map! {
        "registrations": [{"name": "a", "endpoint": "tcp://h:1"}],
        "next": {"name": "a", "endpoint": "tcp://h:1"},
    };
    let empty = map! {"registrations": [], "next": {"name": "a", "endpoint": "tcp://h:1"}};
    for payload in [
        Map::new(),
        map! {"registrations": 5},
        map! {"registrations": [5]},
        map! {"registrations": [{}]},
        empty,
    ] {
        let (client, answering) = scripted("senseless", payload).await;
        let error = within(client.list()).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::InvalidAnswer { .. }),
            "{error:?}"
        );
        answering.abort();
    }
    // A list that never ends is given up when its time is.
    let (client, answering) = scripted("endless", endless).await;
    let patient = RemoteRegistry::builder(client.endpoint()).timeout(Duration::from_millis(300));
    let error = within(patient.build().unwrap().list()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    answering.abort();

    let (client, answering) = scripted("lease", map! {"lease_seconds": "long"}).await;
    let error = within(client.register(agent("weather", 80))).await;
    assert!(matches!(
        error.unwrap_err(),
        RegistryError::InvalidAnswer { .. }
    ));
    answering.abort();
}

/// It panics where others look something up, and hangs where they register.
struct BrokenRegistry;

impl Registry for BrokenRegistry {
    async fn register(&self, _: Registration) -> Result<Lease, RegistryError> {
        std::future::pending().await
    }

    async fn unregister(&self, _: &InstanceRef) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn heartbeat(&self, _: &InstanceRef) -> Result<(), RegistryError> {
        Ok(())
    }

    async fn lookup(&self, _: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        panic!("the book fell apart")
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        Ok(Vec::new())
    }

    async fn find(&self, _: &Query) -> Result<Vec<Arc<Registration>>, RegistryError> {
        Ok(Vec::new())
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        match scope {
            WatchScope::All => panic!("the book fell apart"),
            _ => Watch::new(stream::poll_fn(|_| panic!("the book fell apart"))),
        }
    }
}

#[tokio::test]
async fn a_registry_of_ones_own_may_panic_or_hang_and_the_connection_lives_on() {
    let builder =
        RegistryServer::builder(BrokenRegistry).handler_timeout(Duration::from_millis(50));
    let server = builder.serve(memory("broken")).await.unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    for (kind, payload, code) in [
        (
            "request",
            r#"{"method": "lookup", "agent_name": "a"}"#,
            "INTERNAL_ERROR",
        ),
        ("request", r#"{"method": "watch"}"#, "INTERNAL_ERROR"),
        (
            "request",
            r#"{"method": "watch", "agent_name": "a"}"#,
            "INTERNAL_ERROR",
        ),
        (
            "register",
            r#"{"agent_name": "a", "endpoint": "tcp://h:1"}"#,
            "AGENT_UNAVAILABLE",
        ),
    ] {
        let Body::Error(error) = ask(&mut peer, kind, payload).await else {
            panic!("{payload}")
        };
        assert_eq!(error.code.as_str(), code);
        assert!(!error.message.contains("book"), "{error}");
    }
    assert_eq!(
        told(&mut peer, "heartbeat", r#"{"agent_name": "a"}"#).await,
        Map::new()
    );
}

#[tokio::test]
async fn watches_leave_room_for_calls_and_are_gone_when_dropped() {
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

/// A registry that answers each request with the next of these.
async fn scripted_in_turn(test: &str, answers: Vec<Body>) -> (RemoteRegistry, JoinHandle<()>) {
    let endpoint = memory(test);
    let mut listener = Listener::bind(&endpoint).await.unwrap();
    let answering = tokio::spawn(async move {
        let mut peer = RawPeer::accept(&mut listener).await;
        for answer in answers {
            let asked = peer.receive().await;
            peer.send(&frame(&Envelope::new(asked.id, answer))).await;
        }
        std::future::pending().await
    });
    (RemoteRegistry::new(endpoint).unwrap(), answering)
}

fn page(registrations: Value, next: bool) -> Body {
    let mut page = map! {"registrations": registrations};
    if next {
        page.insert("next", map! {"anything": 7});
    }
    Response::Other(page).into()
}

#[tokio::test]
async fn a_page_may_end_behind_an_agent_that_cannot_be_called_from_elsewhere() {
    let served = ServedRegistry::start("page-ends").await;
    fill(&served.registry, 300).await;
    // One behind each, so that every page ends there.
    for number in 0..300 {
        let name = format!("agent {number:05} inside");
        let inside = Registration::new(name, Endpoint::custom("a line"));
        served.registry.register(inside).await.unwrap();
    }
    let mut peer = served.peer().await;
    let answer = told(&mut peer, "request", r#"{"method": "list"}"#).await;
    let page = answer["registrations"].as_list().unwrap();
    assert!(page.len() < 300);
    assert_eq!(answer["next"]["name"], page[page.len() - 1]["name"]);

    let listed = within(served.client().list()).await.unwrap();
    assert_eq!(listed.len(), 300);
    assert!(names(&listed).is_sorted());
}

#[tokio::test]
async fn agents_that_only_others_can_call_hide_nobody_behind_them() {
    let odd = value!([{"name": "a", "endpoint": "ws://h:1"}]);
    let known = value!([{"name": "b", "endpoint": "tcp://h:1"}]);
    let answers = vec![page(odd.clone(), true), page(odd, true), page(known, false)];
    let (client, answering) = scripted_in_turn("later-version", answers).await;
    assert_eq!(names(&within(client.list()).await.unwrap()), ["b"]);
    answering.abort();
}

#[tokio::test]
async fn what_moves_between_two_pages_is_in_the_list_once() {
    let old = value!([
        {"name": "a", "endpoint": "tcp://h:1", "version": "2.0.0"},
        {"name": "a", "endpoint": "tcp://h:2", "version": "1.0.0"},
    ]);
    let new = value!([
        {"name": "a", "endpoint": "tcp://h:1", "version": "0.1.0"},
        {"name": "b", "endpoint": "tcp://h:1"},
    ]);
    let answers = vec![page(old, true), page(new, false)];
    let (client, answering) = scripted_in_turn("moving", answers).await;
    let listed = within(client.list()).await.unwrap();
    let versions: Vec<_> = listed.iter().map(|one| one.version.clone()).collect();
    assert_eq!(names(&listed), ["a", "a", "b"]);
    assert_eq!(versions[..2], ["1.0.0".parse().ok(), "0.1.0".parse().ok()]);
    answering.abort();
}

#[tokio::test]
async fn a_registry_that_is_full_says_of_what() {
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
async fn a_question_that_cannot_be_sent_is_said_to_be_one() {
    let limits = FrameLimits::default().send(1024);
    let client = RemoteRegistry::builder(memory("unsendable")).frame_limits(limits);
    let query = Query::new().metadata("text", "x".repeat(2000));
    let error = client.build().unwrap().find(&query).await.unwrap_err();
    assert!(matches!(error, RegistryError::Encode { .. }), "{error:?}");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn an_unregister_is_sent_again_only_if_it_names_an_instance() {
    for (instance, times) in [(None, 1), (Some("mine"), 3)] {
        let endpoint = memory("leave-twice");
        let mut listener = Listener::bind(&endpoint).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let closing = tokio::spawn(async move {
            loop {
                // It is gone before it has answered.
                RawPeer::accept(&mut listener).await.receive().await;
                count.fetch_add(1, Relaxed);
            }
        });
        let mut which = InstanceRef::new("weather");
        which.instance = instance.map(str::to_owned);
        let client = RemoteRegistry::new(endpoint).unwrap();
        let error = within(client.unregister(&which)).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        assert_eq!(asked.load(Relaxed), times);
        closing.abort();
    }
}

#[tokio::test]
async fn an_event_within_a_snapshot_ends_the_connection_and_not_the_watch() {
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
                peer.send(&frame(&Envelope::new(asked.id.clone(), chunk)))
                    .await;
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

/// A registry in front of another, which counts what it gives out and may lose touch.
#[derive(Clone)]
struct CountingRegistry {
    registry: LocalRegistry,
    given: Arc<AtomicUsize>,
    in_touch: Arc<AtomicBool>,
    /// How long its watches take to begin.
    beginning: Duration,
}

impl CountingRegistry {
    fn new() -> Self {
        Self {
            registry: LocalRegistry::new(),
            given: Arc::default(),
            in_touch: Arc::default(),
            beginning: Duration::ZERO,
        }
    }

    fn count(&self, found: &[Arc<Registration>]) {
        self.given.fetch_add(found.len(), Relaxed);
    }
}

impl Registry for CountingRegistry {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        self.registry.register(registration).await
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.registry.unregister(which).await
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.registry.heartbeat(which).await
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let found = self.registry.lookup(name).await?;
        self.count(&found);
        Ok(found)
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let found = self.registry.list().await?;
        self.count(&found);
        Ok(found)
    }

    async fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let found = self.registry.list_after(name, count).await?;
        self.count(&found);
        Ok(found)
    }

    async fn find(&self, query: &Query) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let found = self.registry.find(query).await?;
        self.count(&found);
        Ok(found)
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        let in_touch = Arc::clone(&self.in_touch);
        let events = self.registry.watch(scope);
        let begun = sleep(self.beginning).map(move |()| events);
        Watch::new(begun.flatten_stream()).with_liveness(move || in_touch.load(Relaxed))
    }
}

#[tokio::test]
async fn a_page_costs_what_stands_on_it() {
    let counting = CountingRegistry::new();
    fill(&counting.registry, 3000).await;
    let server = RegistryServer::serve(counting.clone(), memory("page-costs"));
    let server = server.await.unwrap();
    let client = RemoteRegistry::new(server.endpoint()).unwrap();
    // About 130 of them fit on a page.
    assert_eq!(within(client.list()).await.unwrap().len(), 3000);
    let given = counting.given.swap(0, Relaxed);
    assert!(given < 3 * 3000, "{given}");
    let none = Query::new().metadata("text", "y");
    assert!(within(client.find(&none)).await.unwrap().is_empty());
    let given = counting.given.load(Relaxed);
    assert!(given < 2 * 3000, "{given}");
}

/// Serves it to one who watches.
async fn watched_by_hand(
    counting: &CountingRegistry,
    keep_alive: Duration,
) -> (RegistryServer, RawPeer) {
    let builder = RegistryServer::builder(counting.clone()).keep_alive(keep_alive);
    let server = builder.serve(memory("watched-by-hand")).await.unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    peer.send_frame(WATCH).await;
    (server, peer)
}

/// What it is told next, however long that takes, and after how many seconds.
async fn told_next(peer: &mut RawPeer) -> (Result<String, String>, f64) {
    let start = Instant::now();
    let told = peer.receive_within(Duration::from_secs(7200)).await;
    let text = match &told.body {
        Body::StreamChunk(message) => Ok(message.content["event"].as_str().unwrap().to_owned()),
        _ => Err(error_of(&told).0),
    };
    (text, start.elapsed().as_secs_f64())
}

/// After how many seconds a registry says that it lives. The protocol has 15.
const KEEP_ALIVE: [u64; 5] = [1, 7, 15, 20, 3600];

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_out_of_touch_says_so_however_often_it_says_that_it_lives() {
    for keep_alive in KEEP_ALIVE {
        let counting = CountingRegistry::new();
        counting.in_touch.store(true, Relaxed);
        let (_server, mut peer) = watched_by_hand(&counting, Duration::from_secs(keep_alive)).await;
        assert_eq!(told_next(&mut peer).await.0.unwrap(), "snapshot");
        for _ in 0..5 {
            let (told, after) = told_next(&mut peer).await;
            assert_eq!(told.unwrap(), "alive");
            assert!((after - keep_alive as f64).abs() < 0.1, "{after}");
        }
        counting.in_touch.store(false, Relaxed);
        let mut total = 0.0;
        let code = loop {
            let (told, after) = told_next(&mut peer).await;
            total += after;
            match told {
                Ok(event) => assert_eq!(event, "alive"),
                Err(code) => break code,
            }
        };
        assert_eq!(code, "AGENT_UNAVAILABLE");
        assert!((total - 30.0).abs() < 0.1, "{total}, {keep_alive}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_may_take_its_time_for_the_first_snapshot_but_not_for_ever() {
    for keep_alive in KEEP_ALIVE.map(Duration::from_secs) {
        for (beginning, expected, when) in [
            (70, Ok("snapshot"), 70.0),
            (3600, Err("AGENT_UNAVAILABLE"), 90.0),
        ] {
            let mut counting = CountingRegistry::new();
            counting.beginning = Duration::from_secs(beginning);
            let (_server, mut peer) = watched_by_hand(&counting, keep_alive).await;
            let (told, after) = told_next(&mut peer).await;
            assert_eq!(told.as_deref().map_err(String::as_str), expected);
            assert!((after - when).abs() < 0.1, "{after}, {keep_alive:?}");
        }
    }
}

/// A registry whose watches are all taken, by peers that stay.
async fn watched(test: &str) -> (RegistryServer, LocalRegistry, Vec<RawPeer>) {
    let registry = LocalRegistry::new();
    let builder = RegistryServer::builder(registry.clone()).max_connections(4);
    let server = builder.max_watches(2).serve(memory(test)).await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..2 {
        let mut peer = RawPeer::connect(server.endpoint()).await;
        peer.send_frame(WATCH).await;
        assert_eq!(chunk(&mut peer).await["event"].as_str(), Some("snapshot"));
        peers.push(peer);
    }
    (server, registry, peers)
}

const WATCH: &[u8] =
    br#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "watch"}}"#;

#[tokio::test]
async fn watches_beyond_their_limit_are_refused_and_the_rest_goes_on() {
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
    told(&mut peer, "request", r#"{"method": "list"}"#).await;
    // Its place goes with a watch.
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
async fn clients_whose_watches_are_refused_leave_room_and_come_back() {
    let (server, registry, mut watching) = watched("watches-wait").await;
    let client = || RemoteRegistry::new(server.endpoint()).unwrap();
    let mut refused = Vec::new();
    for _ in 0..5 {
        let mut watch = client().watch(WatchScope::All);
        let none = timeout(Duration::from_secs(8), watch.next()).await;
        assert!(none.is_err() && !watch.is_live(), "{none:?}");
        refused.push(watch);
    }
    registry.register(agent("weather", 80)).await.unwrap();
    // Each would keep a connection of its own.
    let mut clients = Vec::new();
    for _ in 0..10 {
        let client = client();
        let which = InstanceRef::new("weather");
        client.heartbeat(&which).await.unwrap();
        sleep(Duration::from_secs(11)).await;
        clients.push(client);
    }
    watching.pop();
    let (found, resync) = snapshot_in_time(&mut refused[0]).await;
    assert_eq!((names(&found), resync), (vec!["weather"], false));
    assert!(refused[0].is_live());
}
