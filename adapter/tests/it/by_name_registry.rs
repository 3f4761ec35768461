//! Calls by name while the registry is unreachable, hangs, or comes back empty.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::common::{
    Delegate, Hooks, Instances, ask, ask_often, call_by_name, memory, register_dead,
    registry_error, until, within,
};
use agentwire::{
    CallOptions, Error, ErrorCode, Message, Phase, RemoteAgent, RetryPolicy,
    registry::{
        Event, InstanceRef, LocalRegistry, Registration, Registry, RegistryError, RegistryServer,
        RemoteRegistry, Watch, WatchScope, backend::WatchExt,
    },
};
use futures_util::{StreamExt, future::join_all, stream};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

/// Hooks of a registry that cannot be watched. It answers one lookup for each permit, and fails
/// every lookup once the semaphore is closed.
struct Unreliable {
    permits: Arc<Semaphore>,
    lookups: AtomicUsize,
}

fn unreliable(registry: &LocalRegistry, permits: &Arc<Semaphore>) -> Delegate<Unreliable> {
    let hooks = Unreliable {
        permits: Arc::clone(permits),
        lookups: AtomicUsize::new(0),
    };
    Delegate::new(registry, hooks)
}

fn unavailable() -> RegistryError {
    RegistryError::Unavailable {
        registry: "far away".to_owned(),
        source: "no route".into(),
    }
}

impl Hooks for Unreliable {
    async fn before_lookup(&self) -> Result<(), RegistryError> {
        self.lookups.fetch_add(1, Relaxed);
        let permit = self.permits.acquire().await;
        permit.map_err(|_| unavailable())?.forget();
        Ok(())
    }

    fn watch(&self, _: &LocalRegistry, _: WatchScope) -> Watch {
        Watch::failed(unavailable())
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_watch_the_client_looks_up_at_intervals_and_keeps_the_last_answer() {
    let instances = Instances::with(2).await;
    let answers = Arc::new(Semaphore::new(2));
    let registry = unreliable(&instances.registry, &answers);
    let remote = RemoteAgent::discover(registry, "weather")
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    // All of these calls share one lookup.
    for answer in join_all((0..50).map(|_| ask(&remote))).await {
        answer.unwrap();
    }
    assert_eq!(answers.available_permits(), 1);
    ask_often(&remote, 50).await;
    assert_eq!(answers.available_permits(), 1);
    sleep(Duration::from_secs(2)).await;
    ask_often(&remote, 50).await;
    assert_eq!(answers.available_permits(), 0);
    // The registry no longer answers, and the client keeps the last answer.
    answers.close();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(ask_often(&remote, 50).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_registry_is_an_error_of_its_own() {
    let answers = Arc::new(Semaphore::new(0));
    let registry = unreliable(&LocalRegistry::new(), &answers);
    let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
    let options = CallOptions::new().timeout(Duration::from_secs(5));
    let start = Instant::now();
    let error = remote.process_with(Message::user("x"), &options).await;
    match error.unwrap_err() {
        Error::Timeout { phase, .. } => assert_eq!(phase, Phase::Resolving),
        other => panic!("{other:?}"),
    }
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    answers.close();
    let error = ask(&remote).await.unwrap_err();
    assert!(matches!(error, Error::Registry { .. }), "{error:?}");
    let source = registry_error(&error).unwrap();
    assert!(source.is_unavailable(), "{source}");
    assert_eq!(error.code(), ErrorCode::AGENT_UNAVAILABLE);
    assert!(!error.was_sent());
}

#[tokio::test(start_paused = true)]
async fn one_failed_lookup_fails_all_waiting_calls() {
    let answers = Arc::new(Semaphore::new(0));
    let registry = unreliable(&LocalRegistry::new(), &answers);
    let hooks = Arc::clone(&registry.hooks);
    let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
    let early: Vec<_> = (0..50).map(|_| call_by_name(&remote)).collect();
    sleep(Duration::from_secs(5)).await;
    let late: Vec<_> = (0..50).map(|_| call_by_name(&remote)).collect();
    sleep(Duration::from_secs(5)).await;
    answers.close();
    let start = Instant::now();
    for call in early.into_iter().chain(late) {
        match within(call).await.unwrap().unwrap_err() {
            Error::Registry { source, .. } => assert!(source.is_unavailable(), "{source}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(hooks.lookups.load(Relaxed), 1);
}

#[tokio::test]
async fn waiting_calls_share_lookups_of_an_unregistered_name() {
    let answers = Arc::new(Semaphore::new(0));
    let registry = unreliable(&LocalRegistry::new(), &answers);
    let hooks = Arc::clone(&registry.hooks);
    let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
    let calls: Vec<_> = (0..500).map(|_| call_by_name(&remote)).collect();
    until("all calls wait", || remote.stats().in_flight == 500).await;
    answers.add_permits(500);
    for call in calls {
        let error = within(call).await.unwrap().unwrap_err();
        assert!(matches!(error, Error::NotRegistered { .. }), "{error:?}");
    }
    // Calls that started during the first lookup need a lookup that began later.
    let lookups = hooks.lookups.load(Relaxed);
    assert!(lookups <= 3, "{lookups}");
}

#[tokio::test(start_paused = true)]
async fn known_instances_are_called_while_the_registry_hangs() {
    let instances = Instances::with(2).await;
    let answers = Arc::new(Semaphore::new(1));
    let registry = unreliable(&instances.registry, &answers);
    let remote = RemoteAgent::discover(registry, "weather")
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    ask(&remote).await.unwrap();
    sleep(Duration::from_secs(10)).await;
    let mut waited = Duration::ZERO;
    for _ in 0..100 {
        let start = Instant::now();
        ask(&remote).await.unwrap();
        waited += start.elapsed();
        sleep(Duration::from_secs(1)).await;
    }
    assert!(waited <= Duration::from_secs(2), "{waited:?}");
}

#[tokio::test]
async fn a_call_that_is_not_polled_does_not_block_others() {
    let instances = Instances::with(1).await;
    let answers = Arc::new(Semaphore::new(0));
    let registry = unreliable(&instances.registry, &answers);
    let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
    let mut held = Box::pin(remote.process(Message::user("x")));
    assert!(futures_util::poll!(held.as_mut()).is_pending());
    answers.add_permits(100);
    ask(&remote).await.unwrap();
    within(held).await.unwrap();
}

/// Hooks of a registry whose first watch sends a snapshot and is then disconnected. Later watches
/// fail.
struct Disconnecting {
    how: Disconnect,
    is_disconnected: AtomicBool,
}

#[derive(Clone, Copy)]
enum Disconnect {
    /// The watch stays open and never sends another event.
    Silent,
    /// The watch reports that it lost its connection.
    Detected,
    /// The watch ends with an error.
    Failed,
}

fn disconnecting(registry: &LocalRegistry, how: Disconnect) -> Delegate<Disconnecting> {
    let hooks = Disconnecting {
        how,
        is_disconnected: AtomicBool::new(false),
    };
    Delegate::new(registry, hooks)
}

impl Hooks for Disconnecting {
    fn watch(&self, inner: &LocalRegistry, _: WatchScope) -> Watch {
        if self.is_disconnected.swap(true, Relaxed) {
            return Watch::failed(unavailable());
        }
        let registry = inner.clone();
        let snapshot = stream::once(async move {
            let found = registry.lookup("weather").await?;
            Ok(Event::snapshot(found, false))
        });
        match self.how {
            Disconnect::Silent => Watch::new(snapshot.chain(stream::pending())),
            Disconnect::Detected => {
                Watch::new(snapshot.chain(stream::pending())).with_liveness(|| false)
            }
            Disconnect::Failed => {
                let end = stream::once(async { Err(unavailable()) });
                Watch::new(snapshot.chain(end))
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_not_trusted_when_no_instance_can_be_reached() {
    for retry in [RetryPolicy::new(), RetryPolicy::never()] {
        let mut instances = Instances::with(1).await;
        let registry = disconnecting(&instances.registry, Disconnect::Silent);
        let remote = RemoteAgent::discover(registry, "weather")
            .retry(retry)
            .build()
            .unwrap();
        ask(&remote).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        let old = instances.servers.remove(0);
        within(old.stop()).await;
        instances.unregister(old.endpoint()).await;
        let new = instances.add().await;
        let start = Instant::now();
        assert_eq!(ask(&remote).await.unwrap(), new.to_string());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_events_is_checked_by_lookups() {
    let mut instances = Instances::with(1).await;
    let registry = disconnecting(&instances.registry, Disconnect::Silent);
    let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
    ask(&remote).await.unwrap();
    instances.add().await;
    let renewed = instances.servers[0].endpoint().clone();
    let both = async {
        while ask_often(&remote, 20).await.len() < 2 {
            // Renews the lease of the first instance.
            instances.register(&renewed).await;
            sleep(Duration::from_secs(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(80), both)
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_watch_is_not_trusted() {
    for how in [Disconnect::Detected, Disconnect::Failed] {
        let mut instances = Instances::with(1).await;
        let registry = disconnecting(&instances.registry, how);
        let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
        ask(&remote).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        instances.add().await;
        let start = Instant::now();
        while ask_often(&remote, 20).await.len() < 2 {
            sleep(Duration::from_millis(100)).await;
        }
        assert!(
            start.elapsed() <= Duration::from_secs(1),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn instances_survive_a_registry_that_comes_back_empty() {
    let instances = Instances::with(2).await;
    let dead = register_dead(&instances).await;
    let endpoint = memory("registry");
    let server = RegistryServer::serve(instances.registry.clone(), &endpoint).await;
    let registry = RemoteRegistry::new(&endpoint).unwrap();
    let remote = RemoteAgent::discover(registry.clone(), "weather")
        .build()
        .unwrap();
    ask_often(&remote, 20).await;
    within(server.unwrap().abort()).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ask_often(&remote, 20).await.len(), 2);

    let empty = LocalRegistry::new();
    let _server = RegistryServer::serve(empty.clone(), &endpoint)
        .await
        .unwrap();
    let mut watch = registry.watch(WatchScope::name("weather"));
    within(watch.next()).await.unwrap().unwrap();
    // By now the client's watch has reconnected, too.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ask_often(&remote, 20).await.len(), 2);

    // An instance that registers again is preferred over those that do not.
    let first = instances.servers[0].endpoint().clone();
    empty
        .register(Registration::new("weather", first.clone()).with_instance(""))
        .await
        .unwrap();
    sleep(Duration::from_secs(1)).await;
    let answers = ask_often(&remote, 20).await;
    assert_eq!(answers.into_keys().collect::<Vec<_>>(), [first.to_string()]);
    assert_ne!(first, dead);

    // Instances that do not register again are gone after the length of a lease.
    let which = InstanceRef::new("weather").with_endpoint(first);
    empty.unregister(&which).await.unwrap();
    sleep(Duration::from_secs(90)).await;
    let error = ask(&remote).await.unwrap_err();
    assert!(matches!(error, Error::NotRegistered { .. }), "{error:?}");
}
