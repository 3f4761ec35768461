//! Calls by name: instances are found in a registry, balanced, and followed as they join and leave.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::common::{
    Instances, RawPeer, ScriptedAgent, ask, ask_often, call_by_name, memory, register_dead, until,
    within,
};
use agentwire::{
    Balance, Error, ErrorCode, LocalAgent, Map, Message, RemoteAgent, RetryPolicy, agent_fn,
    registry::{InstanceRef, LocalRegistry, Registration, Registry},
    transport::Listener,
};
use futures_util::future::join_all;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

#[tokio::test]
async fn round_robin_calls_each_instance_in_turn() {
    let instances = Instances::with(3).await;
    let remote = instances.remote_with(Balance::RoundRobin);
    let answers = ask_often(&remote, 30).await;
    assert_eq!(answers.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[tokio::test]
async fn two_choices_reach_all_instances_and_avoid_the_busy_one() {
    let mut instances = Instances::with(3).await;
    let remote = instances.remote();
    assert_eq!(ask_often(&remote, 100).await.len(), 3);

    let busy = memory("busy");
    let server = LocalAgent::serve(ScriptedAgent, &busy).await.unwrap();
    instances.registry = LocalRegistry::new();
    instances.register(&busy).await;
    let remote = instances.remote();
    let hanging = remote.clone();
    let hanging = tokio::spawn(async move {
        let message = Message::user("x").with_metadata("do", "hang");
        hanging.process(message).await
    });
    until("the call is in flight", || remote.stats().open == 1).await;
    let idle = instances.add().await;
    // The client learns of the instance soon after.
    let idle = idle.to_string();
    within(async { while ask(&remote).await.unwrap() != idle {} }).await;
    let answers = ask_often(&remote, 20).await;
    assert_eq!(answers, BTreeMap::from([(idle, 20)]));
    hanging.abort();
    within(server.abort()).await;
}

#[tokio::test]
async fn streams_tools_and_pings_work_by_name() {
    let instances = Instances::with(2).await;
    let remote = instances.remote();
    let result = within(remote.execute("forecast", Map::new()))
        .await
        .unwrap();
    assert_eq!(result.data.as_str(), Some("rain"));
    within(remote.ping()).await.unwrap();

    let streaming = memory("streaming");
    let server = LocalAgent::serve(ScriptedAgent, &streaming).await.unwrap();
    let registry = LocalRegistry::new();
    let registration = Registration::new("scripted", streaming.clone());
    registry.register(registration).await.unwrap();
    let remote = RemoteAgent::discover(registry, "scripted").build().unwrap();
    let mut chunks = remote.stream(Message::user("go").with_metadata("count", 5));
    let mut count = 0;
    while let Some(chunk) = within(chunks.next()).await {
        chunk.unwrap();
        count += 1;
    }
    assert_eq!(count, 5);
    let mut failing = remote.stream(Message::user("go").with_metadata("fail_after", 0));
    match within(failing.next()).await.unwrap().unwrap_err() {
        Error::RemoteExecution { context, .. } => {
            assert_eq!(context.endpoint.as_ref(), Some(&streaming))
        }
        other => panic!("{other:?}"),
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn a_stream_counts_as_a_call_until_its_end() {
    let mut instances = Instances::default();
    let streaming = memory("streaming");
    let server = LocalAgent::serve(ScriptedAgent, &streaming).await.unwrap();
    instances.register(&streaming).await;
    let remote = instances.remote();
    let mut chunks = remote.stream(Message::user("go").with_metadata("count", 1_000_000));
    within(chunks.next()).await.unwrap().unwrap();
    let other = instances.add().await.to_string();
    within(async { while ask(&remote).await.unwrap() != other {} }).await;
    let answers = ask_often(&remote, 20).await;
    assert_eq!(answers, BTreeMap::from([(other.clone(), 20)]));
    drop(chunks);
    // Both instances have the same load again. The first one echoes the message instead of its
    // endpoint.
    within(async { while ask(&remote).await.unwrap() == other {} }).await;
    within(server.abort()).await;
}

#[tokio::test]
async fn a_stream_that_ended_in_an_error_no_longer_counts_as_a_call() {
    let instances = Instances::default();
    let streaming = memory("streaming");
    let server = LocalAgent::serve(ScriptedAgent, &streaming).await.unwrap();
    instances.register(&streaming).await;
    let remote = instances.remote();
    for after in [0, 1] {
        let message = Message::user("go").with_metadata("fail_after", after);
        let mut chunks = remote.stream(message);
        for _ in 0..after {
            within(chunks.next()).await.unwrap().unwrap();
        }
        within(chunks.next()).await.unwrap().unwrap_err();
        assert_eq!(remote.stats().in_flight, 0);
        drop(chunks);
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn calls_on_shared_connections_are_balanced_and_fail_over() {
    let instances = Instances::with(2).await;
    register_dead(&instances).await;
    let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
        .balance(Balance::RoundRobin)
        .max_connections(1)
        .max_in_flight_per_connection(16)
        .build()
        .unwrap();
    let asking = (0..60).map(|_| ask(&remote));
    let answers: Result<Vec<_>, _> = join_all(asking).await.into_iter().collect();
    let mut answers = answers.unwrap();
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 2);
    assert!(remote.stats().open <= 2);
}

#[tokio::test]
async fn an_unregistered_name_is_an_error_until_an_instance_registers() {
    let mut instances = Instances::default();
    let remote = instances.remote();
    for _ in 0..2 {
        let error = ask(&remote).await.unwrap_err();
        assert!(matches!(error, Error::NotRegistered { .. }), "{error:?}");
        assert_eq!(error.code(), ErrorCode::AGENT_NOT_FOUND);
        assert!(!error.was_sent() && !error.is_remote());
        let text = error.to_string();
        assert!(text.starts_with("agent \"weather\""), "{text}");
        assert!(
            text.ends_with("no agent of that name is registered"),
            "{text}"
        );
    }
    // A new instance is found at once, even before the watch reports it.
    let first = instances.add().await;
    assert_eq!(ask(&remote).await.unwrap(), first.to_string());
    instances.unregister(&first).await;
    let gone = async { while ask(&remote).await.is_ok() {} };
    within(gone).await;
}

#[test]
fn an_invalid_name_is_refused() {
    let built = RemoteAgent::discover(LocalRegistry::new(), " ").build();
    assert!(matches!(built, Err(Error::InvalidName(_))), "{built:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_whose_instances_are_all_dead_is_unavailable_within_the_timeout() {
    let instances = Instances::default();
    register_dead(&instances).await;
    register_dead(&instances).await;
    let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap();
    let start = Instant::now();
    let error = ask(&remote).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(error.code(), ErrorCode::AGENT_UNAVAILABLE);
    assert!(!error.was_sent() && error.is_connect() && !error.is_remote());
    match error {
        Error::Unreachable {
            instances: 2,
            source: Some(source),
            ..
        } => assert!(source.is_refused(), "{source}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn without_retries_each_instance_is_tried_once() {
    let instances = Instances::default();
    for _ in 0..3 {
        register_dead(&instances).await;
    }
    let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    let start = Instant::now();
    for _ in 0..2 {
        let error = ask(&remote).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Unreachable {
                    instances: 3,
                    source: Some(_),
                    ..
                }
            ),
            "{error:?}"
        );
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_dead_instance_is_ejected_and_used_again_when_it_recovers() {
    let instances = Instances::with(2).await;
    let dead = register_dead(&instances).await;
    let remote = instances.remote_with(Balance::RoundRobin);
    assert_eq!(ask_often(&remote, 50).await.len(), 2);
    let _revived = instances.serve(&dead).await;
    let start = Instant::now();
    let back = async {
        while ask(&remote).await.unwrap() != dead.to_string() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(back).await;
    // The longest backoff of the policy.
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(ask_often(&remote, 30).await[&dead.to_string()], 10);
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_the_only_instance_to_come_back() {
    let instances = Instances::default();
    let dead = register_dead(&instances).await;
    let remote = instances.remote();
    let calls: Vec<_> = (0..5).map(|_| call_by_name(&remote)).collect();
    sleep(Duration::from_secs(7)).await;
    let _revived = instances.serve(&dead).await;
    let start = Instant::now();
    for call in calls {
        let reply = within(call).await.unwrap().unwrap();
        assert_eq!(reply.text(), Some(dead.to_string().as_str()));
    }
    // One call detects the recovery, and all others follow.
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_waiting_for_instances_that_all_leave_fails_as_not_registered() {
    let instances = Instances::default();
    let dead = register_dead(&instances).await;
    let remote = instances.remote();
    let waiting = call_by_name(&remote);
    sleep(Duration::from_secs(5)).await;
    instances.unregister(&dead).await;
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::NotRegistered { .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_go_to_an_instance_that_joins() {
    let mut instances = Instances::default();
    register_dead(&instances).await;
    let remote = instances.remote();
    let waiting = call_by_name(&remote);
    sleep(Duration::from_secs(20)).await;
    let start = Instant::now();
    let joined = instances.add().await;
    let reply = within(waiting).await.unwrap().unwrap();
    assert_eq!(reply.text(), Some(joined.to_string().as_str()));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_expired_instance_is_no_longer_called() {
    let instances = Instances::with(2).await;
    let remote = instances.remote_with(Balance::RoundRobin);
    assert_eq!(ask_often(&remote, 10).await.len(), 2);
    let kept = instances.servers[0].endpoint();
    let which = InstanceRef::new("weather").with_endpoint(kept.clone());
    for _ in 0..4 {
        sleep(Duration::from_secs(30)).await;
        instances.registry.heartbeat(&which).await.unwrap();
    }
    // Both servers run; only the registration of one has expired.
    let answers = ask_often(&remote, 10).await;
    assert_eq!(answers, BTreeMap::from([(kept.to_string(), 10)]));
}

#[tokio::test]
async fn connections_to_an_instance_that_left_are_closed_once_their_calls_end() {
    for max_in_flight in [1, 4] {
        let mut instances = Instances::default();
        let gate = Arc::new(Semaphore::new(0));
        let leaving = memory("leaving");
        let agent = {
            let (gate, own) = (Arc::clone(&gate), leaving.to_string());
            agent_fn("weather", move |message: Message| {
                let (gate, own) = (Arc::clone(&gate), own.clone());
                async move {
                    if message.text() == Some("wait") {
                        drop(gate.acquire().await);
                    }
                    Ok(Message::agent(own))
                }
            })
        };
        let _server = LocalAgent::serve(agent, &leaving).await.unwrap();
        instances.register(&leaving).await;
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .balance(Balance::RoundRobin)
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        let last = remote.clone();
        let last = tokio::spawn(async move { last.process(Message::user("wait")).await });
        until("the call is in flight", || remote.stats().open == 1).await;

        let other = instances.add().await;
        instances.unregister(&leaving).await;
        // Round robin never calls the same one of two instances twice in a row.
        let other = other.to_string();
        let is_other = async || ask(&remote).await.unwrap() == other;
        within(async { while !is_other().await || !is_other().await {} }).await;
        assert_eq!(remote.stats().in_flight, 1);
        gate.add_permits(1);
        let reply = within(last).await.unwrap().unwrap();
        assert_eq!(reply.text(), Some(leaving.to_string().as_str()));
        until("one connection is left", || remote.stats().open == 1).await;

        assert_eq!(ask(&remote).await.unwrap(), other);
        instances.unregister(instances.servers[0].endpoint()).await;
        until("no connection is left", || remote.stats().open == 0).await;
    }
}

#[tokio::test]
async fn a_call_queued_for_an_instance_that_leaves_goes_to_another() {
    for max_in_flight in [1, 2] {
        let mut instances = Instances::default();
        let endpoint = memory("leaving");
        let mut listener = within(Listener::bind(&endpoint)).await.unwrap();
        instances.register(&endpoint).await;
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .max_connections(1)
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        let in_flight: Vec<_> = (0..max_in_flight).map(|_| call_by_name(&remote)).collect();
        let mut peer = RawPeer::accept(&mut listener).await;
        let mut ids = Vec::new();
        for _ in 0..max_in_flight {
            ids.push(peer.receive().await.id);
        }
        let in_line = call_by_name(&remote);
        until("the call waits", || remote.stats().waiting == 1).await;

        let other = instances.add().await;
        instances.unregister(&endpoint).await;
        let reply = within(in_line).await.unwrap().unwrap();
        assert_eq!(reply.text(), Some(other.to_string().as_str()));
        for id in &ids {
            peer.answer(id, "late").await;
        }
        for call in in_flight {
            let reply = within(call).await.unwrap().unwrap();
            assert_eq!(reply.text(), Some("late"));
        }
    }
}

#[tokio::test]
async fn a_sent_request_goes_to_another_instance_only_if_resending_is_allowed() {
    for (resends, max_in_flight) in [(0, 1), (0, 4), (1, 1), (1, 4)] {
        let mut instances = Instances::default();
        let dying = memory("dying");
        let mut listener = within(Listener::bind(&dying)).await.unwrap();
        instances.register(&dying).await;
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .retry(RetryPolicy::new().resend(resends))
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        let sent = call_by_name(&remote);
        let mut peer = RawPeer::accept(&mut listener).await;
        peer.receive().await;
        let other = instances.add().await;
        drop((peer, listener));
        match within(sent).await.unwrap() {
            Ok(reply) => {
                assert_eq!(resends, 1);
                assert_eq!(reply.text(), Some(other.to_string().as_str()));
            }
            Err(Error::ConnectionClosed { context, .. }) => {
                assert_eq!(resends, 0);
                assert_eq!(
                    context.endpoint.as_ref(),
                    Some(&dying),
                    "the error names the instance that may have received the request"
                );
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn unsent_requests_queued_on_a_shared_connection_go_to_another_instance() {
    for len in [10_000, 30_000] {
        let mut instances = Instances::default();
        let dying = memory("dying");
        let mut listener = within(Listener::bind(&dying)).await.unwrap();
        instances.register(&dying).await;
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .max_connections(1)
            .max_in_flight_per_connection(20)
            .build()
            .unwrap();
        // More than the connection takes while the peer does not read.
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let (remote, message) = (remote.clone(), Message::user("x".repeat(len)));
                tokio::spawn(async move { remote.process(message).await })
            })
            .collect();
        let mut peer = RawPeer::accept(&mut listener).await;
        // All requests are queued by now, because they wait for the same connection.
        peer.receive().await;
        let other = instances.add().await;
        drop((peer, listener));
        let mut answered = 0;
        for call in calls {
            match within(call).await.unwrap() {
                Ok(reply) => {
                    assert_eq!(reply.text(), Some(other.to_string().as_str()));
                    answered += 1;
                }
                Err(Error::ConnectionClosed { context, .. }) => {
                    assert_eq!(context.endpoint.as_ref(), Some(&dying))
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        // Memory endpoints hold 64 KiB.
        let held = 64 * 1024 / len + 3;
        assert!(answered + held >= 20 && answered < 20, "{answered}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_endpoint_that_may_have_received_the_request() {
    let instances = Instances::default();
    let dying = memory("dying");
    let mut listener = within(Listener::bind(&dying)).await.unwrap();
    instances.register(&dying).await;
    let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
        .retry(RetryPolicy::new().resend(3))
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let sent = call_by_name(&remote);
    let mut peer = RawPeer::accept(&mut listener).await;
    peer.receive().await;
    register_dead(&instances).await;
    drop((peer, listener));
    match within(sent).await.unwrap() {
        Err(Error::ConnectionClosed { context, .. }) => {
            assert_eq!(context.endpoint.as_ref(), Some(&dying))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_watch_task_ends_when_the_client_is_dropped_or_closed() {
    let instances = Instances::with(2).await;
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    for max_in_flight in [1, 4] {
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        assert_eq!(alive(), before, "the task starts with the first call");
        ask_often(&remote, 10).await;
        assert!(alive() > before);
        drop(remote);
        until("all tasks have ended", || alive() == before).await;

        let remote = instances.remote();
        ask_often(&remote, 10).await;
        within(remote.close()).await;
        until("all tasks have ended", || alive() == before).await;
        assert_eq!(remote.stats().open, 0);
        let error = ask(&remote).await.unwrap_err();
        assert!(matches!(error, Error::ClientClosed { sent: false, .. }));
        assert_eq!(alive(), before, "no task starts again");
    }
}

#[tokio::test]
async fn closing_fails_the_calls_that_wait_for_an_instance() {
    let instances = Instances::default();
    register_dead(&instances).await;
    let remote = instances.remote();
    let waiting = call_by_name(&remote);
    until("the call waits", || remote.stats().in_flight == 1).await;
    within(remote.close()).await;
    let error = within(waiting).await.unwrap().unwrap_err();
    assert!(
        matches!(error, Error::ClientClosed { sent: false, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_outlives_the_runtime_of_its_watch() {
    let mut instances = Instances::default();
    let remote = instances.remote();
    let first = remote.clone();
    let elsewhere = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(ask(&first)).unwrap_err()
    });
    let error = within(elsewhere).await.unwrap();
    assert!(matches!(error, Error::NotRegistered { .. }), "{error:?}");
    for _ in 0..2 {
        let joined = instances.add().await.to_string();
        let found = async { while ask(&remote).await.unwrap() != joined {} };
        within(found).await;
    }
}
