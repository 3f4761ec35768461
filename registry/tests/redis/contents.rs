//! What is stored in Redis, and what others may write there.

use std::time::Duration;

use agentwire_registry::{
    Event, InstanceRef, RedisRegistry, Registration, RegistrationProblem, Registry, RegistryError,
    WatchScope,
};
use agentwire_transport::Endpoint;

use super::{RedisServer, agent, names, next, resync, until, watch, within};

/// Returns the field of an attribute of an entry.
fn field(attribute: &str, name: &str, port: u16) -> String {
    format!("{attribute}:{name}\ntcp://198.51.100.1:{port}")
}

#[tokio::test]
async fn names_and_endpoints_with_special_characters_are_plain_data() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    let mut seen = watch(&registry, WatchScope::All).await;
    let hostile = [
        "*",
        "a*",
        "a",
        "a:b",
        "a b",
        "[a",
        "(a",
        "-",
        "+",
        "{a}",
        "%d%s",
        "a\\n",
        "ids",
        "due",
        "state",
        "changes@0",
        "entry:a",
        "'\"]]--",
        "天気",
        "\u{10ffff}",
        "KEYS[1]",
        "=",
    ];
    let endpoints = [
        "unix:///tmp/a b.sock",
        "unix:///tmp/*?[a]:tcp://b:1",
        "memory://ü%00",
    ];
    for name in hostile {
        for endpoint in endpoints {
            let one = Registration::new(name, endpoint.parse().unwrap())
                .with_instance("=%s'\"\\]]")
                .with_metadata("\n\0\u{7f}\"", "\r\n$5\r\nhello\r\n");
            within(registry.register(one.clone())).await.unwrap();
            match next(&mut seen).await {
                Event::Joined(joined) => assert!(joined.is_same_offer(&one), "{joined:?}"),
                other => panic!("{other:?}"),
            }
            let which = InstanceRef::from(&one);
            registry.heartbeat(&which).await.unwrap();
            let by_instance = InstanceRef::new(name).with_instance("another");
            registry.unregister(&by_instance).await.unwrap();
        }
    }
    for name in hostile {
        let found = registry.lookup(name).await.unwrap();
        assert_eq!(names(&found), [name; 3]);
    }
    let all = registry.list().await.unwrap();
    assert_eq!(all.len(), hostile.len() * endpoints.len());
    for one in &all {
        registry.unregister(&one.into()).await.unwrap();
        assert!(matches!(next(&mut seen).await, Event::Left(left) if left.is_same_offer(one)));
    }
    let mut keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    keys.sort_unstable();
    assert_eq!(
        keys,
        ["agentwire:{agents}:state"],
        "no entry leaves anything behind"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_not_portable_is_refused() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    let error = registry
        .register(Registration::new("weather", Endpoint::custom("a line")))
        .await;
    assert!(matches!(
        error.unwrap_err(),
        RegistryError::InvalidRegistration {
            problem: RegistrationProblem::NotPortable,
            ..
        }
    ));
}

#[tokio::test]
async fn a_malformed_entry_hides_no_other() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    for port in 1..=3 {
        registry.register(agent("weather", port)).await.unwrap();
    }
    let _: u64 = server
        .command(&[
            "HSET",
            ENTRIES,
            &field("offer", "weather", 2),
            "{\"name\": 7",
        ])
        .await;
    let _: u64 = server
        .command(&["ZADD", IDS, "0", "weather", "0", "\u{7f}\n\n", "0", ""])
        .await;
    assert_eq!(registry.lookup("weather").await.unwrap().len(), 2);
    assert_eq!(registry.list().await.unwrap().len(), 2);
    let mut seen = registry.watch(WatchScope::All);
    match next(&mut seen).await {
        Event::Snapshot { registrations, .. } => assert_eq!(registrations.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_deleted_entry_is_not_returned_and_makes_watches_resync() {
    let server = RedisServer::start().await;
    let builder = server.builder().lease(Duration::from_millis(500));
    let registry = within(builder.connect()).await.unwrap();
    let weather = agent("weather", 1);
    registry.register(weather.clone()).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    for attribute in [
        "expires",
        "offer",
        "instance",
        "owner",
        "registered",
        "heard",
    ] {
        let field = field(attribute, "weather", 1);
        let _: u64 = server.command(&["HDEL", ENTRIES, &field]).await;
    }
    assert!(registry.lookup("weather").await.unwrap().is_empty());
    assert!(registry.list().await.unwrap().is_empty());
    let error = registry.heartbeat(&InstanceRef::from(&weather)).await;
    assert!(error.unwrap_err().is_not_registered());
    // The expired registration is unknown, so watches resync.
    assert!(resync(&mut seen).await.is_empty());
    until(|| async {
        let left: u64 = server.command(&["ZCARD", IDS]).await;
        (left == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_whose_entry_left_the_index_must_register_again() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    let weather = agent("weather", 1);
    registry.register(weather.clone()).await.unwrap();
    let _: u64 = server.command(&["DEL", IDS]).await;
    let error = registry.heartbeat(&InstanceRef::from(&weather)).await;
    assert!(error.unwrap_err().is_not_registered());
    registry.register(weather).await.unwrap();
    assert_eq!(registry.lookup("weather").await.unwrap().len(), 1);
}

#[tokio::test]
async fn foreign_messages_on_the_channel_are_ignored() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    let mut seen = watch(&registry, WatchScope::All).await;
    for message in ["", "hello", "\n\n\n\n\n", "epoch\nx\njoined\n1\n1\n{}"] {
        let _: u64 = server
            .command(&["PUBLISH", "agentwire:changes@0", message])
            .await;
    }
    registry.register(agent("weather", 1)).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(_)));
    // A well-formed change of another epoch causes a resync.
    let change = "epoch\n7\njoined\n1\n1\n{}";
    let _: u64 = server
        .command(&["PUBLISH", "agentwire:changes@0", change])
        .await;
    assert_eq!(names(&resync(&mut seen).await), ["weather"]);
}

#[tokio::test]
async fn scripts_name_all_keys_that_they_access() {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    let server = RedisServer::start_cluster().await;
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", server.port()));
    let mut monitor = BufReader::new(stream.await.unwrap());
    monitor.write_all(b"MONITOR\r\n").await.unwrap();
    let mut line = String::new();
    within(monitor.read_line(&mut line)).await.unwrap();
    assert_eq!(line, "+OK\r\n");

    let builder = server.builder().lease(Duration::from_millis(300));
    let registry = within(builder.connect()).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    let weather = agent("weather", 1);
    registry.register(weather.clone()).await.unwrap();
    registry
        .heartbeat(&InstanceRef::from(&weather))
        .await
        .unwrap();
    let echo = agent("echo", 1);
    registry.register(echo.clone()).await.unwrap();
    registry
        .unregister(&InstanceRef::from(&echo))
        .await
        .unwrap();
    registry.list().await.unwrap();
    while !matches!(next(&mut seen).await, Event::Expired(_)) {}
    let _: String = server.command(&["ECHO", "the end"]).await;

    let mut accessed = 0;
    loop {
        line.clear();
        within(monitor.read_line(&mut line)).await.unwrap();
        if line.contains("\"the end\"") {
            break;
        }
        let words: Vec<_> = line.split('"').skip(1).step_by(2).collect();
        if !line.contains(" lua] ") || ["TIME", "PUBLISH"].contains(&words[0]) {
            continue;
        }
        assert!(
            KEYS.contains(&words[1]),
            "a script accesses another key: {line}"
        );
        accessed += 1;
    }
    assert!(accessed > 0, "no script was seen");
}

#[test]
fn every_future_is_send() {
    fn is_send(_: impl Send) {}
    fn check(registry: &RedisRegistry, which: &InstanceRef) {
        is_send(RedisRegistry::connect(""));
        is_send(registry.register(agent("weather", 1)));
        is_send(registry.heartbeat(which));
        is_send(registry.unregister(which));
        is_send(registry.list());
        is_send(registry.watch(WatchScope::All));
    }
    let _ = check;
}

const IDS: &str = "agentwire:{agents}:ids";
const ENTRIES: &str = "agentwire:{agents}:entries";
const KEYS: [&str; 4] = [
    IDS,
    "agentwire:{agents}:due",
    "agentwire:{agents}:state",
    ENTRIES,
];
