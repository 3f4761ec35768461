use std::{net::TcpListener, time::Duration};

use agentwire_registry::{Event, InstanceRef, RedisRegistry, Registry, RegistryError, Scope};
use tokio::time::Instant;

use super::{RedisServer, agent, names, next, resync, until, watch, within};

/// Tries until Redis is back.
async fn back(registry: &RedisRegistry) {
    until(|| async { registry.list().await.ok() }).await;
}

#[tokio::test]
async fn it_survives_a_redis_that_is_killed_and_comes_back_empty() {
    let mut server = RedisServer::start().await;
    let registry = server.connect().await;
    let (weather, echo) = (agent("weather", 1), agent("echo", 2));
    let which = InstanceRef::from(&weather);
    registry.register(weather.clone()).await.unwrap();
    let mut seen = watch(&registry, Scope::All).await;

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
        "a refusal needs no patience"
    );
    // One that begins while Redis is away waits for it.
    let late = registry.clone();
    let late = tokio::spawn(async move { watch(&late, Scope::name("weather")).await });

    server.restart().await;
    back(&registry).await;
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
        until_told_of(watch, "weather").await;
    }
}

/// Whether as an event or in one more resync: one may have come for the new connection and one for the new epoch.
async fn until_told_of(watch: &mut agentwire_registry::Watch, name: &str) {
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
async fn it_survives_a_redis_that_is_killed_and_comes_back_with_what_it_held() {
    let mut server = RedisServer::start_durable().await;
    let registry = server.connect().await;
    let weather = agent("weather", 1);
    registry.register(weather.clone()).await.unwrap();
    let mut seen = watch(&registry, Scope::All).await;
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
async fn a_lost_connection_is_noticed_by_nobody_but_those_who_watch() {
    let server = RedisServer::start().await;
    let (registry, other) = (server.connect().await, server.connect().await);
    let mut seen = watch(&registry, Scope::All).await;
    for port in 1..=5 {
        let _: u64 = server.tell(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        let _: u64 = server.tell(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        other.register(agent("weather", port)).await.unwrap();
        let known = resync(&mut seen).await;
        if known.len() < usize::from(port) {
            // It was back sooner than the registration.
            assert!(matches!(next(&mut seen).await, Event::Joined(_)));
        }
    }
    assert_eq!(registry.list().await.unwrap().len(), 5);
}

#[tokio::test]
async fn an_emptied_redis_is_noticed_without_anything_happening_there() {
    let server = RedisServer::start().await;
    let builder = server.builder().lease(Duration::from_secs(1));
    let registry = within(builder.connect()).await.unwrap();
    let other = server.connect().await;
    let weather = agent("weather", 1);
    other.register(weather.clone()).await.unwrap();
    let mut seen = watch(&registry, Scope::All).await;
    let () = server.tell(&["FLUSHALL"]).await;
    assert!(resync(&mut seen).await.is_empty());
    let error = other.heartbeat(&InstanceRef::from(&weather)).await;
    assert!(error.unwrap_err().is_not_registered());
    other.register(weather).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(_)));
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_not_waited_for_for_long() {
    let server = RedisServer::start().await;
    let builder = server.builder().timeout(Duration::from_millis(200));
    let registry = within(builder.connect()).await.unwrap();
    let () = server.tell(&["CLIENT", "PAUSE", "1000", "ALL"]).await;
    let start = Instant::now();
    let error = registry.list().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    back(&registry).await;
}

#[tokio::test]
async fn whatever_is_no_redis_is_an_error_in_time() {
    // It takes connections and says nothing.
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
async fn a_refusal_is_told_apart_from_an_absence_and_keeps_the_password() {
    let server = RedisServer::start().await;
    let () = server
        .tell(&["CONFIG", "SET", "requirepass", "right"])
        .await;
    let url = server.url().replace("redis://", "redis://:wrong-password@");
    let error = within(RedisRegistry::connect(&url)).await.unwrap_err();
    assert!(matches!(error, RegistryError::Remote(_)), "{error:?}");
    assert!(error.to_string().contains(&server.url()), "{error}");
    assert!(!format!("{error} {error:?}").contains("wrong-password"));
    let url = url.replace("wrong-password", "right");
    let registry = within(RedisRegistry::connect(&url)).await.unwrap();
    registry.register(agent("weather", 1)).await.unwrap();
    let mut seen = watch(&registry, Scope::All).await;
    registry.register(agent("weather", 2)).await.unwrap();
    assert!(matches!(next(&mut seen).await, Event::Joined(_)));
    assert!(!format!("{registry:?}").contains("right"));
}

#[tokio::test]
async fn one_that_connects_later_works_once_redis_is_there() {
    let mut server = RedisServer::start().await;
    server.kill();
    let builder = server.builder().lease(Duration::from_secs(1));
    let registry = builder.connect_lazy().unwrap();
    let weather = agent("weather", 1);
    let error = within(registry.register(weather.clone())).await;
    assert!(error.unwrap_err().is_unavailable());
    let early = registry.clone();
    let early = tokio::spawn(async move { watch(&early, Scope::All).await });

    server.restart().await;
    back(&registry).await;
    let mut early = within(early).await.unwrap();
    registry.register(weather).await.unwrap();
    until_told_of(&mut early, "weather").await;
    // It sweeps, too.
    assert!(matches!(next(&mut early).await, Event::Expired(_)));
}

#[test]
fn one_that_connects_later_needs_no_runtime_but_a_url() {
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
