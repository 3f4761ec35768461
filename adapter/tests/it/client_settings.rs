//! The settings of a client and of a single call: connect and idle timeouts, retries, queries, and
//! waiting for the client to close.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use crate::common::{Instances, RawPeer, ask_often, call, listen, memory, within};
use agentwire::{
    CallOptions, Endpoint, Error, Message, RemoteAgent, RemoteAgentBuilder, RetryPolicy,
    registry::{LocalRegistry, Query, Registration, Registry},
    transport::{self, BoxFuture, Connection, Connector},
};
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Connects to an endpoint after some attempts that hang.
#[derive(Debug)]
struct Hanging {
    endpoint: Endpoint,
    attempts_left: AtomicUsize,
}

impl Connector for Hanging {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, transport::Error>> {
        let hangs = self
            .attempts_left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        Box::pin(async move {
            if hangs.is_ok() {
                std::future::pending::<()>().await;
            }
            self.endpoint.connect().await
        })
    }
}

/// Settings of a client whose first connections hang: for exclusive and for shared connections.
fn hanging(endpoint: &Endpoint, attempts: usize) -> [RemoteAgentBuilder; 2] {
    [1, 8].map(|in_flight| {
        let connector = Hanging {
            endpoint: endpoint.clone(),
            attempts_left: AtomicUsize::new(attempts),
        };
        RemoteAgent::builder(endpoint)
            .connector(connector)
            .max_in_flight_per_connection(in_flight)
    })
}

#[tokio::test(start_paused = true)]
async fn connecting_to_a_fixed_endpoint_has_a_limit_of_its_own() {
    let endpoint = memory("connect-timeout");
    for (limit, expected) in [(None, 5 * SECOND), (Some(SECOND), SECOND)] {
        for builder in hanging(&endpoint, usize::MAX) {
            let builder = builder.retry(RetryPolicy::never());
            let remote = match limit {
                Some(limit) => builder.connect_timeout(limit).build().unwrap(),
                None => builder.build().unwrap(),
            };
            let start = Instant::now();
            let error = remote.process(Message::user("x")).await.unwrap_err();
            assert!(matches!(error, Error::ConnectionFailed { .. }), "{error:?}");
            assert_eq!(start.elapsed().as_secs(), expected.as_secs());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_attempts_to_connect_share_the_connect_timeout() {
    let endpoint = memory("connect-again");
    let patient = Duration::from_secs(30 * 60);
    for (limit, expected) in [(None, 5 * SECOND), (Some(60 * SECOND), 60 * SECOND)] {
        let mut builder = RemoteAgent::builder(&endpoint).timeout(patient);
        if let Some(limit) = limit {
            builder = builder.connect_timeout(limit);
        }
        let remote = builder.build().unwrap();
        let start = Instant::now();
        let error = remote.process(Message::user("x")).await.unwrap_err();
        // The error of the last attempt, and not that the time is up.
        assert!(error.is_connect() && error.is_retryable(), "{error:?}");
        assert!(format!("{error:#}").contains("refused"), "{error:#}");
        let elapsed = start.elapsed();
        assert!(
            elapsed <= expected && elapsed + 2 * SECOND >= expected,
            "{elapsed:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_connected_has_the_connect_timeout_again_for_another_connection() {
    let (endpoint, listener) = listen("connect-window").await;
    let policy = RetryPolicy::new().resend(1);
    let remote = RemoteAgent::builder(&endpoint)
        .retry(policy)
        .build()
        .unwrap();
    let called = call(&remote, "x");
    let mut listener = listener;
    let (peer, _) = RawPeer::asked(&mut listener).await;
    tokio::time::sleep(20 * SECOND).await;
    // The server restarts, which takes two seconds.
    drop((peer, listener));
    tokio::time::sleep(2 * SECOND).await;
    let mut listener = transport::Listener::bind(&endpoint).await.unwrap();
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&id, "at last").await;
    assert_eq!(called.await.unwrap().unwrap().text(), Some("at last"));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_while_connecting_says_why_connecting_failed_before() {
    // Refused at first; then an attempt hangs until the time of the call is up.
    #[derive(Debug)]
    struct RefusesThenHangs(Endpoint, AtomicUsize);

    impl Connector for RefusesThenHangs {
        fn endpoint(&self) -> &Endpoint {
            &self.0
        }

        fn connect(&self) -> BoxFuture<'_, Result<Connection, transport::Error>> {
            Box::pin(async {
                if self.1.fetch_add(1, Relaxed) > 3 {
                    std::future::pending::<()>().await;
                }
                self.0.connect().await
            })
        }
    }

    let endpoint = memory("connect-source");
    let remote = RemoteAgent::builder(&endpoint)
        .connector(RefusesThenHangs(endpoint.clone(), AtomicUsize::new(0)))
        .timeout(3 * SECOND)
        .build()
        .unwrap();
    let error = remote.process(Message::user("x")).await.unwrap_err();
    assert!(error.is_timeout() && !error.was_sent(), "{error:?}");
    let text = format!("{error:#}");
    assert!(
        text.contains("connecting") && text.contains("refused"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_a_connection_no_longer_than_its_own_timeout() {
    for builder in hanging(&memory("connect-deadline"), usize::MAX) {
        let remote = builder.timeout(2 * SECOND).build().unwrap();
        let start = Instant::now();
        let error = remote.process(Message::user("x")).await.unwrap_err();
        assert!(error.is_timeout() && !error.was_sent(), "{error:?}");
        assert_eq!(start.elapsed().as_secs(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_the_idle_timeout() {
    for in_flight in [1, 8] {
        let (endpoint, mut listener) = listen("idle-timeout").await;
        let remote = RemoteAgent::builder(&endpoint)
            .max_in_flight_per_connection(in_flight)
            .idle_timeout(10 * SECOND)
            .build()
            .unwrap();
        let called = call(&remote, "x");
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        peer.answer(&id, "x").await;
        called.await.unwrap().unwrap();
        let start = Instant::now();
        peer.receive_end_within(60 * SECOND).await;
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}

#[tokio::test]
async fn a_retry_policy_may_be_set_for_one_call() {
    let (endpoint, mut listener) = listen("retry-per-call").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();

    // The default: a request that was sent is not sent again.
    let called = call(&remote, "x");
    drop(RawPeer::asked(&mut listener).await);
    let error = within(called).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionClosed { .. }), "{error:?}");

    let caller = remote.clone();
    let called = tokio::spawn(async move {
        let options = CallOptions::new().retry(RetryPolicy::new().resend(1));
        caller.process_with(Message::user("x"), &options).await
    });
    drop(RawPeer::asked(&mut listener).await);
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&id, "at last").await;
    let answer = within(called).await.unwrap().unwrap();
    assert_eq!(answer.text(), Some("at last"));
}

#[tokio::test]
async fn only_instances_that_match_the_query_are_called() {
    let instances = Instances::with(0).await;
    let registry = LocalRegistry::new();
    let (old, new) = (memory("query-old"), memory("query-new"));
    let mut servers = Vec::new();
    for (endpoint, version) in [(&old, "1.4.0"), (&new, "2.0.0")] {
        servers.push(instances.serve(endpoint).await);
        let registration = Registration::new("weather", endpoint.clone()).with_version(version);
        registry.register(registration).await.unwrap();
    }
    let query = Query::from("weather").version("^2");
    let remote = RemoteAgent::discover(registry, query).build().unwrap();
    let answers = within(ask_often(&remote, 10)).await;
    assert_eq!(
        answers.into_iter().collect::<Vec<_>>(),
        [(new.to_string(), 10)]
    );
}

#[tokio::test]
async fn a_query_has_to_name_the_agent() {
    let query = Query::new().capability("forecast");
    let built = RemoteAgent::discover(LocalRegistry::new(), query).build();
    assert!(
        matches!(
            built,
            Err(Error::InvalidSetting {
                setting: "query",
                ..
            })
        ),
        "{built:?}"
    );
}

#[tokio::test]
async fn a_discovered_agent_has_no_endpoint_and_a_fixed_one_has() {
    let endpoint = memory("endpoint");
    let remote = RemoteAgent::new(&endpoint).unwrap();
    assert_eq!(remote.endpoint(), Some(&endpoint));
    let remote = RemoteAgent::discover(LocalRegistry::new(), "weather").build();
    assert_eq!(remote.unwrap().endpoint(), None);
}

#[tokio::test]
async fn closed_waits_until_the_client_is_closed_and_its_calls_have_ended() {
    let (endpoint, mut listener) = listen("closed").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let called = call(&remote, "x");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;

    let (waiter, closer) = (remote.clone(), remote.clone());
    let waiting = tokio::spawn(async move { waiter.closed().await });
    tokio::task::yield_now().await;
    assert!(!remote.is_closed() && !waiting.is_finished());

    let closing = tokio::spawn(async move { closer.close().await });
    tokio::task::yield_now().await;
    assert!(
        remote.is_closed() && !waiting.is_finished(),
        "a call is in flight"
    );
    peer.answer(&id, "the last").await;
    within(called).await.unwrap().unwrap();
    within(waiting).await.unwrap();
    within(closing).await.unwrap();
    within(remote.closed()).await;
}
