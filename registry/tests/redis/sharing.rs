//! Several registries on one Redis.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use agentwire_registry::{
    Event, InstanceRef, Query, RedisRegistry, Registration, Registry, RegistryConfig, WatchScope,
};
use tokio::task::JoinSet;

use super::{RedisServer, agent, names, next, until, watch, within};

#[tokio::test]
async fn two_registries_on_one_redis_see_each_other() {
    let server = RedisServer::start().await;
    let (here, there) = (server.connect().await, server.connect().await);
    let mut seen = watch(&there, WatchScope::All).await;
    let weather = agent("weather", 1).with_metadata("zone", "b");
    here.register(weather.clone()).await.unwrap();
    let found = there.lookup("weather").await.unwrap();
    assert!(found[0].is_same_offer(&weather));
    assert!(
        matches!(next(&mut seen).await, Event::Joined(joined) if joined.is_same_offer(&weather))
    );

    let which = InstanceRef::from(&weather);
    there.heartbeat(&which).await.unwrap();
    there.unregister(&which).await.unwrap();
    assert!(here.lookup("weather").await.unwrap().is_empty());
    assert!(matches!(next(&mut seen).await, Event::Left(left) if left.is_same_offer(&weather)));
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let server = RedisServer::start().await;
    let here = server.connect().await;
    let there = within(server.builder().namespace("other:").connect()).await;
    let there = there.unwrap();
    let mut seen = watch(&there, WatchScope::All).await;
    here.register(agent("weather", 1)).await.unwrap();
    assert!(there.list().await.unwrap().is_empty());
    there.register(agent("echo", 2)).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(joined) if joined.name == "echo"));
    assert_eq!(names(&here.list().await.unwrap()), ["weather"]);
}

#[tokio::test]
async fn databases_do_not_see_each_other() {
    let server = RedisServer::start().await;
    let here = server.connect().await;
    let there = RedisRegistry::builder(format!("{}/1", server.url()));
    let there = within(there.connect()).await.unwrap();
    let mut seen = [
        watch(&here, WatchScope::All).await,
        watch(&there, WatchScope::All).await,
    ];
    // The watches see the events of their own database only, and no resync.
    for port in 1..=3 {
        here.register(agent("weather", port)).await.unwrap();
        there.register(agent("echo", port)).await.unwrap();
        for (watch, name) in seen.iter_mut().zip(["weather", "echo"]) {
            let event = next(watch).await;
            assert!(
                matches!(&event, Event::Joined(joined) if joined.name == name),
                "{event:?}"
            );
        }
    }
    assert_eq!(there.list().await.unwrap().len(), 3);
}

#[tokio::test]
async fn another_registry_reports_the_expiry_of_abandoned_entries_once() {
    let server = RedisServer::start().await;
    let connect = |lease| within(server.builder().lease(lease).connect());
    // A registry with a long lease sweeps rarely.
    let second = connect(Duration::from_secs(1)).await.unwrap();
    let third = connect(Duration::from_secs(1)).await.unwrap();
    let mut seen = [
        watch(&second, WatchScope::All).await,
        watch(&third, WatchScope::All).await,
    ];
    let first = connect(Duration::from_millis(200)).await.unwrap();
    let weather = agent("weather", 1);
    first.register(weather.clone()).await.unwrap();
    drop(first);
    for watch in &mut seen {
        assert!(matches!(next(watch).await, Event::Joined(_)));
        match next(watch).await {
            Event::Expired(expired) => assert!(expired.is_same_offer(&weather)),
            other => panic!("{other:?}"),
        }
    }
    // The next event is a new one, so the expiry was reported once.
    second.register(weather).await.unwrap();
    for watch in &mut seen {
        assert!(matches!(next(watch).await, Event::Joined(_)));
    }
}

#[tokio::test]
async fn an_expired_entry_is_not_returned_before_it_is_swept() {
    let server = RedisServer::start().await;
    let connect = |lease| within(server.builder().lease(lease).connect());
    // A registry with a long lease sweeps every 5 s.
    let reader = connect(Duration::from_secs(3600)).await.unwrap();
    let lease = Duration::from_millis(100);
    let writer = connect(lease).await.unwrap();
    writer.register(agent("weather", 1)).await.unwrap();
    let registered = Instant::now();
    drop(writer);
    loop {
        let asked = registered.elapsed();
        let given = [
            reader.lookup("weather").await.unwrap(),
            reader.list().await.unwrap(),
            reader.find(Query::new()).await.unwrap(),
        ];
        if given.iter().all(Vec::is_empty) {
            break;
        }
        // Redis counts in milliseconds, by its own clock.
        assert!(asked <= lease + Duration::from_millis(2), "{asked:?}");
    }
    let left: Vec<String> = server
        .command(&["ZRANGE", "agentwire:{agents}:ids", "0", "-1"])
        .await;
    assert_eq!(left.len(), 1, "it was swept, so nothing was tested");
}

#[tokio::test]
async fn a_heartbeat_renews_the_lease_of_the_registration() {
    let server = RedisServer::start().await;
    let builder = server.builder().lease(Duration::from_secs(3600));
    let long = within(builder.connect()).await.unwrap();
    let builder = server.builder().lease(Duration::from_millis(100));
    let short = within(builder.connect()).await.unwrap();
    let weather = agent("weather", 1);
    long.register(weather.clone()).await.unwrap();
    short.heartbeat(&InstanceRef::from(&weather)).await.unwrap();
    let id = "weather\ntcp://198.51.100.1:1";
    let key = "agentwire:{agents}:entries";
    let fields = [format!("expires:{id}"), format!("heard:{id}")];
    let times: Vec<u64> = server
        .command(&["HMGET", key, &fields[0], &fields[1]])
        .await;
    assert_eq!(times[0] - times[1] / 1000, 3_600_000);
    // A key without a time to live is not evicted.
    let lives: i64 = server.command(&["PTTL", key]).await;
    assert_eq!(lives, -1);
}

#[tokio::test]
async fn pages_are_read_in_order() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    for port in 1..=MANY {
        registry.register(agent("weather", port)).await.unwrap();
    }
    // Large registrations, which fill a page by size.
    let text = "x".repeat(60_000);
    for port in 1..=40 {
        let large = agent("large", port).with_metadata("text", &*text);
        registry.register(large).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(registry.lookup("weather").await.unwrap().len(), 700);
        assert_eq!(registry.lookup("large").await.unwrap().len(), 40);
        let listed = registry.list().await.unwrap();
        let ports: Vec<_> = listed.iter().map(|one| one.endpoint.to_string()).collect();
        let mut expected: Vec<_> = (1..=40).map(|port| agent("large", port)).collect();
        expected.extend((1..=MANY).map(|port| agent("weather", port)));
        expected.sort_by(|a, b| (&a.name, &a.endpoint).cmp(&(&b.name, &b.endpoint)));
        let expected: Vec<_> = expected
            .iter()
            .map(|one| one.endpoint.to_string())
            .collect();
        assert_eq!(ports, expected);
    }
    // Pages are no longer than needed to reach the count without splitting a name.
    for (after, count, expected) in [
        (None, 1, "large 40"),
        (None, 41, "large 40 weather 700"),
        (Some("large"), 1, "weather 700"),
        (Some("weather"), 1, ""),
    ] {
        let part = registry.list_after(after, count).await.unwrap();
        let mut counts = BTreeMap::new();
        for one in &part {
            *counts.entry(&*one.name).or_insert(0) += 1;
        }
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, n)| format!("{name} {n}"))
            .collect();
        assert_eq!(counts.join(" "), expected);
    }
}

#[tokio::test]
async fn a_snapshot_of_many_pages_is_consistent_with_later_changes() {
    let server = RedisServer::start().await;
    let registry = server.connect().await;
    for port in 1..=MANY {
        registry.register(agent("weather", port)).await.unwrap();
    }
    // Agents come and go on all pages while the watches start.
    let mut churn = JoinSet::new();
    for part in 0..2 {
        let registry = server.connect().await;
        churn.spawn(async move {
            for round in 0_u16.. {
                let port = 1 + part * 10_000 + round * 37 % (2 * MANY);
                let one = agent("weather", port);
                registry.register(one.clone()).await.unwrap();
                if round % 3 > 0 {
                    registry.unregister(&InstanceRef::from(&one)).await.unwrap();
                }
            }
        });
    }
    let other = server.connect().await;
    let mut views = Vec::new();
    for _ in 0..10 {
        let mut watch = other.watch(WatchScope::All);
        let mut view = WatchView::default();
        for _ in 0..50 {
            view.apply(next(&mut watch).await);
        }
        views.push((watch, view));
    }
    churn.shutdown().await;
    let last = agent("zzz", 1);
    registry.register(last).await.unwrap();
    let listed = registry.list().await.unwrap();
    for (mut watch, mut view) in views {
        while !view.0.contains_key(&("zzz".to_owned(), 1.to_string())) {
            view.apply(next(&mut watch).await);
        }
        let expected = listed.iter().map(|one| (key(one), one.instance.clone()));
        assert!(view.0 == expected.collect());
    }
}

#[tokio::test]
async fn tasks_and_watches_end_with_the_last_handle() {
    let server = RedisServer::start().await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    // Waits for the tasks of the helper that started Redis.
    until(|| async { (tasks() == 0).then_some(()) }).await;
    let registry = server.connect().await;
    let mut seen = watch(&registry, WatchScope::All).await;
    let mut other = registry.watch(WatchScope::All);
    assert!(tasks() > 0);
    drop(registry);
    assert!(within(seen.next()).await.is_none());
    assert!(within(other.next()).await.is_none());
    until(|| async { (tasks() == 0).then_some(()) }).await;
}

#[tokio::test]
async fn the_limit_of_instances_counts_those_of_all_registries() {
    let server = RedisServer::start().await;
    let config = RegistryConfig::new().max_instances(2);
    let strict = within(server.builder().config(config).connect())
        .await
        .unwrap();
    let other = server.connect().await;
    for port in 1..=2 {
        let unowned = agent("weather", port).with_instance("");
        other.register(unowned).await.unwrap();
    }
    strict.register(agent("weather", 3)).await.unwrap_err();
    strict.register(agent("weather", 2)).await.unwrap();
    other.register(agent("weather", 3)).await.unwrap();
}

fn key(registration: &Registration) -> (String, String) {
    let endpoint = registration.endpoint.to_string();
    let port = endpoint.rsplit(':').next().expect("a port").to_owned();
    (registration.name.clone(), port)
}

/// The instance ids that a watch has reported. Checks that the events are consistent.
#[derive(Default)]
struct WatchView(BTreeMap<(String, String), String>);

impl WatchView {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Snapshot { registrations, .. } => {
                let keyed = registrations.iter();
                self.0 = keyed.map(|one| (key(one), one.instance.clone())).collect();
            }
            Event::Joined(one) => {
                let known = self.0.insert(key(&one), one.instance.clone());
                assert!(known.is_none(), "joined twice");
            }
            Event::Updated(one) => {
                let known = self.0.insert(key(&one), one.instance.clone());
                assert!(known.is_some(), "unknown registration");
            }
            Event::Left(one) | Event::Expired(one) => {
                assert!(self.0.remove(&key(&one)).is_some(), "unknown registration");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// More registrations than a page holds.
const MANY: u16 = 700;
