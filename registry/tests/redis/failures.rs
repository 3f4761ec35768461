//! Lost connections, restarts, refusals and shutdown.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire_registry::{
    Event, InstanceRef, RedisRegistry, RedisRegistryBuilder, Registry, RegistryError, WatchScope,
};
use futures_util::FutureExt;
use tokio::{
    io::copy_bidirectional,
    net::TcpStream,
    runtime::Builder,
    task::{JoinSet, yield_now},
    time::Instant,
};

use super::{RedisServer, agent, names, next, resync, until, watch, within};

/// Waits until Redis answers again.
async fn wait_until_back(registry: &RedisRegistry) {
    until(|| async { registry.list().await.ok() }).await;
}

#[tokio::test]
async fn the_registry_survives_a_killed_redis_that_lost_its_data() {
    let mut server = RedisServer::start().await;
    let registry = server.connect().await;
    let (weather, echo) = (agent("weather", 1), agent("echo", 2));
    let which = InstanceRef::from(&weather);
    registry.register(weather.clone()).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;

    server.kill();
    let start = Instant::now();
    for result in [
        registry.register(echo.clone()).await.map(drop),
        registry.heartbeat(&which).await,
        registry.unregister(&which).await,
        registry.lookup("weather").await.map(drop),
        registry.list().await.map(drop),
    ] {
        let error = result.unwrap_err();
        assert!(error.is_unavailable() && error.is_retryable(), "{error:?}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "a refused connection fails at once"
    );
    // A watch that starts while Redis is down waits.
    let late = registry.clone();
    let late = tokio::spawn(async move { watch(&late, WatchScope::name("weather")).await });

    server.restart().await;
    wait_until_back(&registry).await;
    assert!(
        registry
            .heartbeat(&which)
            .await
            .unwrap_err()
            .is_not_registered()
    );
    assert!(resync(&mut seen).await.is_empty());
    let mut late = within(late).await.unwrap();
    registry.register(weather.clone()).await.unwrap();
    registry.heartbeat(&which).await.unwrap();
    for watch in [&mut seen, &mut late] {
        wait_for_name(watch, "weather").await;
    }
}

/// Waits until a watch reports a name, as an event or in a resync. There may be two resyncs: one
/// for the new connection and one for the new epoch.
async fn wait_for_name(watch: &mut agentwire_registry::Watch, name: &str) {
    loop {
        match next(watch).await {
            Event::Joined(joined) => return assert_eq!(joined.name, name),
            Event::Snapshot { registrations, .. } if !registrations.is_empty() => {
                return assert_eq!(names(&registrations), [name]);
            }
            Event::Snapshot { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_registry_survives_a_killed_redis_that_kept_its_data() {
    let mut server = RedisServer::start_durable().await;
    let registry = server.connect().await;
    let weather = agent("weather", 1);
    registry.register(weather.clone()).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    for _ in 0..2 {
        server.kill();
        server.restart().await;
        let kept = resync(&mut seen).await;
        assert!(kept.len() == 1 && kept[0].is_same_offer(&weather));
        registry
            .heartbeat(&InstanceRef::from(&weather))
            .await
            .unwrap();
    }
    registry
        .unregister(&InstanceRef::from(&weather))
        .await
        .unwrap();
    assert!(matches!(next(&mut seen).await, Event::Left(_)));
}

#[tokio::test]
async fn only_watches_notice_a_lost_connection() {
    let server = RedisServer::start().await;
    let (registry, other) = (server.connect().await, server.connect().await);
    let mut seen = watch(&registry, WatchScope::All).await;
    for port in 1..=5 {
        let _: u64 = server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        let _: u64 = server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        other.register(agent("weather", port)).await.unwrap();
        let known = resync(&mut seen).await;
        if known.len() < usize::from(port) {
            // The resync came before the registration.
            assert!(matches!(next(&mut seen).await, Event::Joined(_)));
        }
    }
    assert_eq!(registry.list().await.unwrap().len(), 5);
}

#[tokio::test]
async fn an_emptied_redis_is_noticed_without_a_change() {
    let server = RedisServer::start().await;
    let builder = server.builder().lease(Duration::from_secs(1));
    let registry = within(builder.connect()).await.unwrap();
    let other = server.connect().await;
    let weather = agent("weather", 1);
    other.register(weather.clone()).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    let () = server.command(&["FLUSHALL"]).await;
    assert!(resync(&mut seen).await.is_empty());
    let error = other.heartbeat(&InstanceRef::from(&weather)).await;
    assert!(error.unwrap_err().is_not_registered());
    other.register(weather).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(_)));
}

#[tokio::test]
async fn a_redis_that_does_not_answer_fails_within_the_timeout() {
    let server = RedisServer::start().await;
    let builder = server.builder().timeout(Duration::from_millis(200));
    let registry = within(builder.connect()).await.unwrap();
    let () = server.command(&["CLIENT", "PAUSE", "1000", "ALL"]).await;
    let start = Instant::now();
    let error = registry.list().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    wait_until_back(&registry).await;
}

#[tokio::test]
async fn a_server_that_is_not_redis_is_an_error_within_the_timeout() {
    // Accepts connections and never answers.
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let builder = RedisRegistry::builder(&url).timeout(Duration::from_millis(100));
    let error = within(builder.connect()).await.unwrap_err();
    assert!(
        error.is_unavailable() && error.to_string().contains(&url),
        "{error}"
    );

    drop(silent);
    let error = within(RedisRegistry::connect(&url)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    let error = within(RedisRegistry::connect("tcp://127.0.0.1:1")).await;
    assert!(matches!(
        error.unwrap_err(),
        RegistryError::InvalidSetting { setting: "url", .. }
    ));
}

#[tokio::test]
async fn a_wrong_password_is_a_refusal_that_shows_no_secrets() {
    let server = RedisServer::start().await;
    let () = server
        .command(&["CONFIG", "SET", "requirepass", "right"])
        .await;
    let url = server.url().replace("redis://", "redis://:wrong-password@");
    let error = within(RedisRegistry::connect(&url)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(&server.url()), "{error}");
    assert!(!format!("{error} {error:?}").contains("wrong-password"));
    let url = url.replace("wrong-password", "right");
    let registry = within(RedisRegistry::connect(&url)).await.unwrap();
    registry.register(agent("weather", 1)).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    registry.register(agent("weather", 2)).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(_)));
    assert!(!format!("{registry:?}").contains("right"));
}

/// Returns a builder for the user of the documentation, but without the right to the channel.
async fn without_channel(server: &RedisServer) -> RedisRegistryBuilder {
    let rights = "on >right ~agentwire:* -@all +@connection +@scripting +@hash +@sortedset +@keyspace +time +publish +subscribe";
    let words: Vec<_> = ["ACL", "SETUSER", "agents"]
        .into_iter()
        .chain(rights.split(' '))
        .collect();
    let () = server.command(&words).await;
    let url = server.url().replace("redis://", "redis://agents:right@");
    RedisRegistry::builder(url).lease(Duration::from_millis(300))
}

#[tokio::test]
async fn without_the_right_to_publish_only_watches_fail() {
    let server = RedisServer::start().await;
    let builder = without_channel(&server).await;
    let error = within(builder.clone().connect()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error:?}");

    let registry = builder.clone().connect_lazy().unwrap();
    let error = within(registry.watch(WatchScope::All).next()).await;
    let error = error.unwrap().unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error:?}");
    // Each script does everything but publish.
    let (weather, echo) = (agent("weather", 1), agent("echo", 2));
    registry.register(weather.clone()).await.unwrap();
    registry.register(echo).await.unwrap();
    let which = InstanceRef::from(&weather);
    registry.heartbeat(&which).await.unwrap();
    registry.unregister(&which).await.unwrap();
    assert_eq!(names(&registry.list().await.unwrap()), ["echo"]);
    // Sweeps work, too.
    until(|| async {
        let ids: u64 = server.command(&["ZCARD", "agentwire:{agents}:ids"]).await;
        (ids == 0).then_some(())
    })
    .await;
    let revision: u64 = server
        .command(&["HGET", "agentwire:{agents}:state", "revision"])
        .await;
    assert_eq!(revision, 4);

    let granted = ["ACL", "SETUSER", "agents", "&agentwire:changes@*"];
    let () = server.command(&granted).await;
    within(builder.connect()).await.unwrap();
    // The existing registry recovers by itself.
    let mut seen = until(|| async {
        let mut seen = registry.watch(WatchScope::All);
        within(seen.next()).await.unwrap().is_ok().then_some(seen)
    })
    .await;
    registry.register(weather).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(_)));
    assert!(seen.is_live());

    // An existing watch fails when the right is revoked.
    let () = server
        .command(&["ACL", "SETUSER", "agents", "resetchannels"])
        .await;
    let error = loop {
        match within(seen.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, RegistryError::Refused { .. }), "{error:?}");
    assert!(within(seen.next()).await.is_none());
}

#[tokio::test]
async fn a_demoted_redis_is_left_for_its_successor() {
    let (first, second) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = Proxy::start(first.port()).await;
    let builder = RedisRegistry::builder(proxy.url()).timeout(Duration::from_secs(10));
    let registry = within(builder.connect()).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    let port = second.port().to_string();
    let () = first.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    // Until its successor takes over the address, Redis counts as unavailable.
    let error = registry.register(agent("weather", 1)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    proxy.set_target(second.port());
    registry.register(agent("weather", 1)).await.unwrap();
    wait_for_name(&mut seen, "weather").await;
    registry.register(agent("weather", 2)).await.unwrap();
    wait_for_name(&mut seen, "weather").await;
    let known: u64 = second.command(&["ZCARD", "agentwire:{agents}:ids"]).await;
    assert_eq!(known, 2);
}

/// A proxy whose target can be changed. Existing connections keep their target.
struct Proxy {
    address: std::net::SocketAddr,
    port: Arc<AtomicU16>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    async fn start(port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("an address");
        let port = Arc::new(AtomicU16::new(port));
        let to = Arc::clone(&port);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut here, _) = listener.accept().await.expect("a connection");
                let port = to.load(Relaxed);
                connections.spawn(async move {
                    let mut there = TcpStream::connect(("127.0.0.1", port))
                        .await
                        .expect("a Redis");
                    // An error means that one side has closed, as the test intends.
                    let _ = copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        Self {
            address,
            port,
            _accepting: accepting,
        }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    fn set_target(&self, port: u16) {
        self.port.store(port, Relaxed);
    }
}

#[test]
fn a_watch_survives_the_runtime_of_its_registry() {
    // Has a worker thread, so its tasks run without `block_on`.
    let first = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let second = Builder::new_current_thread().enable_all().build().unwrap();
    let server = second.block_on(RedisServer::start());
    let short = Duration::from_millis(300);
    let connect = within(server.builder().lease(short).connect());
    let registry = first.block_on(connect).unwrap();
    // The tasks run on the first runtime, for both watches.
    let early = first.block_on(watch(&registry, WatchScope::All));
    let mut seen = second.block_on(watch(&registry, WatchScope::All));
    drop(early);
    let waiting = second.spawn(async move {
        let event = next(&mut seen).await;
        (seen, event)
    });
    drop(first);
    second.block_on(async {
        let (mut seen, event) = within(waiting).await.unwrap();
        assert!(
            matches!(event, Event::Snapshot { resync: true, .. }),
            "{event:?}"
        );
        registry.register(agent("weather", 1)).await.unwrap();
        wait_for_name(&mut seen, "weather").await;
        assert!(matches!(next(&mut seen).await, Event::Expired(_)));
    });
}

#[tokio::test]
async fn a_watch_that_is_not_polled_blocks_neither_others_nor_shutdown() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    for port in 1..=600 {
        registry.register(agent("weather", port)).await.unwrap();
    }
    drop(watch(&registry, WatchScope::All).await);
    // These watches start to read a snapshot and are not polled any more.
    let mut left: Vec<_> = (0..4).map(|_| registry.watch(WatchScope::All)).collect();
    for watch in &mut left {
        for _ in 0..3 {
            assert!(watch.next().now_or_never().is_none());
            yield_now().await;
        }
    }
    let mut other = watch(&registry, WatchScope::All).await;
    drop(registry);
    assert!(within(other.next()).await.is_none());
    assert!(within(left[0].next()).await.is_none());
}

#[tokio::test]
async fn a_lazy_registry_works_once_redis_is_running() {
    let mut server = RedisServer::start().await;
    server.kill();
    let builder = server.builder().lease(Duration::from_secs(1));
    let registry = builder.connect_lazy().unwrap();
    let weather = agent("weather", 1);
    let error = within(registry.register(weather.clone())).await;
    assert!(error.unwrap_err().is_unavailable());
    let early = registry.clone();
    let early = tokio::spawn(async move { watch(&early, WatchScope::All).await });

    server.restart().await;
    wait_until_back(&registry).await;
    let mut early = within(early).await.unwrap();
    registry.register(weather).await.unwrap();
    wait_for_name(&mut early, "weather").await;
    // The sweeper runs, too.
    assert!(matches!(next(&mut early).await, Event::Expired(_)));
}

#[test]
fn a_lazy_registry_needs_a_valid_url_but_no_runtime() {
    assert!(
        RedisRegistry::builder("redis://localhost")
            .connect_lazy()
            .is_ok()
    );
    let error = RedisRegistry::builder("http://localhost").connect_lazy();
    assert!(matches!(
        error.unwrap_err(),
        RegistryError::InvalidSetting { setting: "url", .. }
    ));
}

#[tokio::test]
async fn a_subscription_that_stays_at_the_old_primary_is_noticed() {
    let (first, second) = (RedisServer::start().await, RedisServer::start().await);
    let proxy = Proxy::start(first.port()).await;
    let builder = RedisRegistry::builder(proxy.url()).timeout(Duration::from_secs(10));
    let builder = builder.lease(Duration::from_secs(15));
    let registry = within(builder.connect()).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    // The second server becomes a copy, with the same epoch and revision.
    let epoch = || ["HGET", "agentwire:{agents}:state", "epoch"];
    let expected: String = first.command(&epoch()).await;
    let port = first.port().to_string();
    let () = second.command(&["REPLICAOF", "127.0.0.1", &port]).await;
    until(|| async {
        let copied: Option<String> = second.command(&epoch()).await;
        (copied.as_ref() == Some(&expected)).then_some(())
    })
    .await;
    let () = second.command(&["REPLICAOF", "NO", "ONE"]).await;
    proxy.set_target(second.port());
    // Only commands reconnect, to the new primary.
    let _: u64 = first.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    registry.register(agent("weather", 1)).await.unwrap();
    let known: u64 = second.command(&["ZCARD", "agentwire:{agents}:ids"]).await;
    assert_eq!(known, 1);
    wait_for_name(&mut seen, "weather").await;
}

#[tokio::test]
async fn without_free_memory_heartbeats_renew_and_expired_entries_are_removed() {
    let server = RedisServer::start().await;
    let builder = server.builder().lease(Duration::from_secs(1));
    let registry = within(builder.connect()).await.unwrap();
    let weather = agent("weather", 1);
    registry.register(weather.clone()).await.unwrap();
    registry.register(agent("echo", 2)).await.unwrap();
    let mut seen = watch(&registry, WatchScope::All).await;
    let policy = ["CONFIG", "SET", "maxmemory-policy", "noeviction"];
    let () = server.command(&policy).await;
    let () = server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = registry.register(agent("new", 3)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Refused { .. }), "{error:?}");
    let text = chain(&error);
    assert!(text.contains("raise its maxmemory"), "{text}");
    registry
        .heartbeat(&InstanceRef::from(&weather))
        .await
        .unwrap();
    for _ in 0..2 {
        assert!(matches!(next(&mut seen).await, Event::Expired(_)));
    }
    let left: Vec<String> = server.command(&["KEYS", "*"]).await;
    assert_eq!(left, ["agentwire:{agents}:state"]);
}

fn chain(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn a_missing_password_is_named() {
    let server = RedisServer::start().await;
    let () = server
        .command(&["CONFIG", "SET", "requirepass", "right"])
        .await;
    let error = within(RedisRegistry::connect(&server.url())).await;
    let text = chain(&error.unwrap_err());
    assert!(text.contains("put the password into the URL"), "{text}");
}

/// Connects to a server that answers each command with the same bytes, and closes the connection if
/// there are none. Returns the error.
async fn connect_to_fake(answer: &'static [u8]) -> RegistryError {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a free port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = client.read(&mut buffer).await {
                let lines = buffer[..len].split(|byte| *byte == b'\n');
                let commands = lines.filter(|line| line.first() == Some(&b'*')).count();
                if answer.is_empty() || client.write_all(&answer.repeat(commands)).await.is_err() {
                    break;
                }
            }
        }
    });
    let connecting = RedisRegistry::builder(url).timeout(Duration::from_secs(5));
    within(connecting.connect()).await.expect_err("a refusal")
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    for (answer, advice) in [
        (
            &b"-NOAUTH Authentication required.\r\n"[..],
            "put the password into the URL",
        ),
        (
            b"-ERR Protocol error: unauthenticated multibulk length\r\n",
            "put the password",
        ),
        (
            b"-WRONGPASS invalid username-password pair\r\n",
            "check the user",
        ),
        (
            b"-DENIED Redis is running in protected mode\r\n",
            "set a password",
        ),
        (
            b"-MOVED 3999 127.0.0.1:6381\r\n",
            "the node that owns the slot",
        ),
        (
            b"-CROSSSLOT Keys in request don't hash to the same slot\r\n",
            "not by a proxy",
        ),
        (b"-CLUSTERDOWN Hash slot not served\r\n", "see CLUSTER INFO"),
        (
            b"-READONLY You can't write against a read only replica.\r\n",
            "its primary",
        ),
        (
            b"-MASTERDOWN Link with MASTER is down\r\n",
            "address of the primary",
        ),
        (
            b"-NOREPLICAS Not enough good replicas to write.\r\n",
            "min-replicas-to-write",
        ),
        (
            b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
            "raise its maxmemory",
        ),
        (
            b"-MISCONF Redis is configured to save RDB snapshots\r\n",
            "check its disk",
        ),
        (b"-BUSY Redis is busy running a script.\r\n", "SCRIPT KILL"),
        (
            b"-LOADING Redis is loading the dataset in memory\r\n",
            "wait until it has loaded",
        ),
        (
            b"-NOPERM this user has no permissions\r\n",
            "grant the user the rights",
        ),
        (
            b"-ERR unknown command 'PING'\r\n",
            "connect to Redis directly",
        ),
        (
            b"-WRONGTYPE Operation against a key\r\n",
            "another namespace",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "check the port"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "check the port"),
        (b"", "check the port"),
    ] {
        let text = chain(&connect_to_fake(answer).await);
        let answer = String::from_utf8_lossy(answer);
        assert!(text.contains(advice), "{answer:?}: {text}");
    }
}

/// A lease of a test that stops the writes of Redis for longer than a lease.
const SHORT_LEASE: Duration = Duration::from_secs(2);

/// Makes Redis refuse all writes, or accept them again.
async fn refuse_writes(server: &RedisServer, refuse: bool) {
    let replicas = if refuse { "1" } else { "0" };
    let () = server
        .command(&["CONFIG", "SET", "min-replicas-to-write", replicas])
        .await;
}

#[tokio::test]
async fn leases_that_expire_while_redis_refuses_writes_are_held_for_another_lease() {
    let server = RedisServer::start().await;
    let connect = || within(server.builder().lease(SHORT_LEASE).connect());
    let (registry, other) = (connect().await.unwrap(), connect().await.unwrap());
    let (well, crashed) = (agent("weather", 1), agent("weather", 2));
    for one in [&well, &crashed] {
        registry.register(one.clone()).await.unwrap();
    }
    let mut seen = watch(&other, WatchScope::All).await;
    refuse_writes(&server, true).await;
    let error = until(|| async { registry.heartbeat(&InstanceRef::from(&well)).await.err() }).await;
    let text = chain(&error);
    assert!(text.contains("min-replicas-to-write"), "{text}");
    // All leases have expired for longer than a sweep takes. The clock of Redis decides.
    let expires: u64 = server
        .command(&[
            "HGET",
            "agentwire:{agents}:entries",
            "expires:weather\ntcp://198.51.100.1:1",
        ])
        .await;
    until(|| async {
        let time: Vec<u64> = server.command(&["TIME"]).await;
        (time[0] * 1000 > expires + 2000).then_some(())
    })
    .await;
    for registry in [&registry, &other] {
        assert_eq!(registry.lookup("weather").await.unwrap().len(), 2);
    }

    refuse_writes(&server, false).await;
    let renewed = until(|| async { registry.heartbeat(&InstanceRef::from(&well)).await.ok() });
    renewed.await;
    assert_eq!(registry.lookup("weather").await.unwrap().len(), 2);
    // A watch that begins now finds all of them, too.
    let mut late = other.watch(WatchScope::All);
    match next(&mut late).await {
        Event::Snapshot { registrations, .. } => assert_eq!(registrations.len(), 2),
        event => panic!("{event:?}"),
    }
    // Only the agent that does not come back expires, after a lease.
    let ended = loop {
        registry.heartbeat(&InstanceRef::from(&well)).await.unwrap();
        tokio::select! {
            event = next(&mut seen) => break event,
            () = tokio::time::sleep(SHORT_LEASE / 8) => {}
        }
    };
    assert!(
        matches!(&ended, Event::Expired(one) if one.endpoint == crashed.endpoint),
        "{ended:?}"
    );
    assert_eq!(names(&registry.list().await.unwrap()), ["weather"]);
}

#[tokio::test]
async fn an_outage_of_one_registry_holds_no_leases() {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.port()).await;
    let builder = RedisRegistry::builder(proxy.url()).timeout(Duration::from_secs(1));
    let cut = within(builder.lease(SHORT_LEASE).connect()).await.unwrap();
    let other = within(server.builder().lease(SHORT_LEASE).connect());
    let other = other.await.unwrap();
    let mut seen = watch(&other, WatchScope::All).await;
    other.register(agent("crashed", 1)).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(_)));
    // No server listens at this port.
    proxy.set_target(1);
    let _: u64 = server.command(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until(|| async { cut.list().await.err() }).await;
    assert!(matches!(next(&mut seen).await, Event::Expired(_)));
    proxy.set_target(server.port());
    wait_until_back(&cut).await;
    assert!(cut.list().await.unwrap().is_empty());
    let held: Option<String> = server
        .command(&["HGET", "agentwire:{agents}:state", "held_until"])
        .await;
    assert_eq!(held, None);
}
