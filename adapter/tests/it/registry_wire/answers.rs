//! Answers and failures: what clients make of them, and what servers answer when the registry
//! fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{agent, ask, respond, scripted};
use crate::common::{RawPeer, ScriptedAgent, memory, within};
use agentwire::{
    FrameLimits, LocalAgent, Map, map,
    registry::{
        InstanceRef, Lease, Query, Registration, Registry, RegistryError, RegistryServer,
        RemoteRegistry, Watch, WatchScope, backend::WatchExt,
    },
    transport::Listener,
};
use agentwire_codec::{Body, Response};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn a_server_of_agents_is_not_taken_for_a_registry() {
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

#[tokio::test(start_paused = true)]
async fn a_registry_that_does_not_listen_is_unavailable() {
    let client = RemoteRegistry::new(memory("nobody")).unwrap();
    let error = within(client.lookup("weather")).await.unwrap_err();
    assert!(error.is_unavailable() && error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("memory://nobody"), "{error}");
}

#[tokio::test]
async fn invalid_answers_are_errors() {
    let without_progress =
        map! {"registrations": [], "next": {"name": "a", "endpoint": "tcp://h:1"}};
    for payload in [
        Map::new(),
        map! {"registrations": 5},
        map! {"registrations": [5]},
        map! {"registrations": [{}]},
        without_progress,
    ] {
        let client = scripted("invalid", stream::repeat(response(payload))).await;
        let error = within(client.list()).await.unwrap_err();
        let is_invalid = matches!(error, RegistryError::InvalidAnswer { .. });
        assert!(is_invalid, "{error:?}");
    }
    let lease = response(map! {"lease_seconds": "long"});
    let client = scripted("lease", stream::repeat(lease)).await;
    let error = within(client.register(agent("weather", 80))).await;
    let error = error.unwrap_err();
    let is_invalid = matches!(error, RegistryError::InvalidAnswer { .. });
    assert!(is_invalid, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_without_an_end_is_given_up_at_the_timeout() {
    let page = response(map! {
        "registrations": [{"name": "a", "endpoint": "tcp://h:1"}],
        "next": {"name": "a", "endpoint": "tcp://h:1"},
    });
    // Each page takes a while, so that the paused clock advances.
    let pages = stream::repeat(page).then(|page| async {
        sleep(Duration::from_millis(100)).await;
        page
    });
    let client = scripted("endless", pages).await;
    let start = Instant::now();
    let error = client.list().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

fn response(payload: Map) -> Body {
    Response::Other(payload).into()
}

/// A registry whose lookups and watches panic, and whose registering hangs.
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
        panic!("index corrupted")
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        Ok(Vec::new())
    }

    async fn find(
        &self,
        _: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        Ok(Vec::new())
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        match scope {
            WatchScope::All => panic!("index corrupted"),
            _ => Watch::new(stream::poll_fn(|_| panic!("index corrupted"))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_custom_registry_may_panic_or_hang_without_closing_the_connection() {
    let builder = RegistryServer::builder(BrokenRegistry).handler_timeout(Duration::from_secs(5));
    let server = builder.endpoint(memory("broken")).serve().await.unwrap();
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
        assert!(!error.message.contains("index"), "{error}");
    }
    assert_eq!(
        respond(&mut peer, "heartbeat", r#"{"agent_name": "a"}"#).await,
        Map::new()
    );
}

#[tokio::test]
async fn a_query_that_cannot_be_encoded_is_not_retryable() {
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
        let received = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&received);
        let closing = tokio::spawn(async move {
            loop {
                // The peer closes the connection before it answers.
                RawPeer::accept(&mut listener).await.receive().await;
                count.fetch_add(1, Relaxed);
            }
        });
        let mut which = InstanceRef::new("weather");
        which.instance = instance.map(str::to_owned);
        let client = RemoteRegistry::new(endpoint).unwrap();
        let error = within(client.unregister(&which)).await.unwrap_err();
        assert!(error.is_unavailable(), "{error:?}");
        assert_eq!(received.load(Relaxed), times);
        closing.abort();
    }
}
