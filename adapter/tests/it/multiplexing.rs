//! Many calls on one connection: each gets its own answer, whatever the server does.

use std::time::Duration;

use crate::common::{RawPeer, ScriptedAgent, call, listen, memory, shared, until, within};
use agentwire::{
    Error, FrameLimits, LocalAgent, Message, RemoteAgent, RequestId, transport::Listener,
};
use agentwire_codec::Envelope;
use futures_util::future::join_all;

#[tokio::test]
async fn many_calls_share_a_connection_and_get_their_own_answers() {
    let server = LocalAgent::serve(ScriptedAgent, memory("shared"))
        .await
        .unwrap();
    let remote = shared(server.endpoint()).build().unwrap();
    let calls = (0..500).map(|number| {
        let remote = remote.clone();
        async move {
            // Every tenth message is too large to be sent together with others.
            let text = format!("{number} ").repeat(if number % 10 == 0 { 20_000 } else { 1 });
            let reply = remote.process(Message::user(text.as_str())).await.unwrap();
            assert_eq!(reply.text(), Some(text.as_str()));
        }
    });
    within(join_all(calls)).await;
    let stats = remote.stats();
    assert_eq!(
        (stats.open, stats.idle, stats.in_flight, stats.waiting),
        (1, 1, 0, 0)
    );
    within(server.stop()).await;
}

/// A scripted server, a client on one connection, and calls that wait for it.
struct Scene {
    peer: RawPeer,
    listener: Listener,
    remote: RemoteAgent,
    calls: Vec<tokio::task::JoinHandle<Result<Message, Error>>>,
    ids: Vec<RequestId>,
}

impl Scene {
    async fn new(count: usize, timeout: Duration) -> Self {
        let (endpoint, mut listener) = listen("mux").await;
        let remote = shared(&endpoint).timeout(timeout).build().unwrap();
        let mut calls = Vec::new();
        let (mut ids, mut peer) = (Vec::new(), None);
        for number in 0..count {
            calls.push(call(&remote, &format!("call {number}")));
            if peer.is_none() {
                peer = Some(RawPeer::accept(&mut listener).await);
            }
            // One after the other, so that the ids are in the order of the calls.
            ids.push(peer.as_mut().unwrap().receive().await.id);
        }
        let peer = peer.unwrap();
        Self {
            peer,
            listener,
            remote,
            calls,
            ids,
        }
    }
}

const PLENTY: Duration = Duration::from_secs(30);

#[tokio::test]
async fn answers_in_any_order_reach_their_calls() {
    let mut scene = Scene::new(4, PLENTY).await;
    scene
        .peer
        .answer(&RequestId::from("nobody's"), "stray")
        .await;
    for number in [2, 0, 3, 1] {
        scene
            .peer
            .answer(&scene.ids[number].clone(), &format!("answer {number}"))
            .await;
        // A second answer to the same call is discarded.
        scene.peer.answer(&scene.ids[number].clone(), "again").await;
    }
    for (number, call) in scene.calls.into_iter().enumerate() {
        let reply = within(call).await.unwrap().unwrap();
        assert_eq!(reply.text(), Some(format!("answer {number}").as_str()));
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_costs_the_others_nothing() {
    let mut scene = Scene::new(3, PLENTY).await;
    let given_up = scene.calls.remove(1);
    given_up.abort();
    assert!(within(given_up).await.unwrap_err().is_cancelled());
    for number in [1, 0, 2] {
        scene
            .peer
            .answer(&scene.ids[number].clone(), &format!("answer {number}"))
            .await;
    }
    for (call, number) in scene.calls.into_iter().zip([0, 2]) {
        let reply = within(call).await.unwrap().unwrap();
        assert_eq!(reply.text(), Some(format!("answer {number}").as_str()));
    }
    let remote = scene.remote;
    until("no call in flight", || remote.stats().in_flight == 0).await;
}

#[tokio::test]
async fn the_end_of_the_connection_is_an_error_of_each_call_on_it() {
    let scene = Scene::new(5, PLENTY).await;
    drop(scene.peer);
    for call in scene.calls {
        assert!(within(call).await.unwrap().unwrap_err().is_disconnected());
    }
    // The next call opens a new connection.
    let (remote, mut listener) = (scene.remote, scene.listener);
    let next = call(&remote, "again");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&id, "here").await;
    assert_eq!(within(next).await.unwrap().unwrap().text(), Some("here"));
    assert_eq!(remote.stats().reconnects, 1);
}

#[tokio::test]
async fn an_invalid_answer_fails_only_its_call() {
    let mut scene = Scene::new(2, PLENTY).await;
    let id = &scene.ids[0];
    let bad = format!(
        r#"{{"version": "1.0", "type": "response", "id": "{id}", "payload": {{"message": 5}}}}"#
    );
    scene.peer.send_frame(bad.as_bytes()).await;
    scene.peer.send_frame(b"not an envelope").await;
    scene.peer.answer(&scene.ids[1].clone(), "fine").await;
    let mut calls = scene.calls.into_iter();
    assert!(
        within(calls.next().unwrap())
            .await
            .unwrap()
            .unwrap_err()
            .is_protocol()
    );
    assert_eq!(
        within(calls.next().unwrap()).await.unwrap().unwrap().text(),
        Some("fine")
    );
}

#[tokio::test]
async fn an_oversize_answer_ends_the_connection_with_its_reason() {
    let mut scene = Scene::new(2, PLENTY).await;
    scene.peer.send(&u32::MAX.to_be_bytes()).await;
    for call in scene.calls {
        let error = within(call).await.unwrap().unwrap_err();
        assert!(error.is_protocol(), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_timeout_on_a_silent_connection_calls_use_another() {
    let mut scene = Scene::new(1, Duration::from_secs(5)).await;
    let error = scene.calls.remove(0).await.unwrap().unwrap_err();
    assert!(error.is_timeout(), "{error}");
    let next = call(&scene.remote, "x");
    let (mut peer, id) = RawPeer::asked(&mut scene.listener).await;
    peer.answer(&id, "another").await;
    assert_eq!(next.await.unwrap().unwrap().text(), Some("another"));
    // The silent connection has no calls any more, and is closed.
    scene.peer.receive_end().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_times_out_among_others_keeps_the_connection() {
    let mut scene = Scene::new(2, Duration::from_secs(5)).await;
    scene.peer.answer(&scene.ids[0].clone(), "in time").await;
    let last = scene.calls.pop().unwrap();
    assert_eq!(
        scene.calls.pop().unwrap().await.unwrap().unwrap().text(),
        Some("in time")
    );
    assert!(last.await.unwrap().unwrap_err().is_timeout());
    let next = call(&scene.remote, "x");
    scene.peer.answer(&scene.ids[1].clone(), "late").await;
    let id = scene.peer.receive().await.id;
    scene.peer.answer(&id, "own").await;
    assert_eq!(next.await.unwrap().unwrap().text(), Some("own"));
}

#[tokio::test(start_paused = true)]
async fn an_idle_shared_connection_is_closed_before_the_server_does() {
    let mut scene = Scene::new(1, PLENTY).await;
    scene.peer.answer(&scene.ids[0].clone(), "x").await;
    scene.calls.remove(0).await.unwrap().unwrap();
    let start = tokio::time::Instant::now();
    scene.peer.receive_end_within(Duration::from_secs(60)).await;
    assert!(
        start.elapsed() >= Duration::from_secs(49),
        "{:?}",
        start.elapsed()
    );
    until("the connection is closed", || {
        scene.remote.stats().open == 0
    })
    .await;
    assert_eq!(scene.remote.stats().reconnects, 0);
}

#[tokio::test]
async fn calls_over_the_limit_wait_for_a_permit() {
    let (endpoint, mut listener) = listen("mux-limit").await;
    let remote = shared(&endpoint)
        .max_in_flight_per_connection(2)
        .build()
        .unwrap();
    let calls: Vec<_> = (0..3)
        .map(|number: u32| call(&remote, &number.to_string()))
        .collect();
    let mut peer = RawPeer::accept(&mut listener).await;
    let first = [peer.receive().await, peer.receive().await];
    until("one call waits", || remote.stats().waiting == 1).await;
    assert_eq!(remote.stats().in_flight, 3);
    for Envelope { id, .. } in &first {
        peer.answer(id, "x").await;
    }
    let third = peer.receive().await;
    peer.answer(&third.id, "x").await;
    for call in calls {
        within(call).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn requests_to_a_peer_that_does_not_read_do_not_accumulate() {
    // The peer accepts connections and reads nothing, and the calls time out soon.
    let (endpoint, mut listener) = listen("mux-stuck").await;
    let remote = shared(&endpoint)
        .max_in_flight_per_connection(4)
        .timeout(Duration::from_millis(5))
        .frame_limits(FrameLimits::default())
        .build()
        .unwrap();
    let large = "x".repeat(256 * 1024);
    let mut queued = 0;
    let mut peers = Vec::new();
    for _ in 0..20 {
        let call = remote.process(Message::user(large.as_str()));
        let error = within(call).await.unwrap_err();
        if let Error::Timeout {
            phase: agentwire::Phase::Queueing,
            ..
        } = error
        {
            queued += 1;
        }
        while let Ok(Ok(connection)) = tokio::time::timeout(Duration::ZERO, listener.accept()).await
        {
            peers.push(connection);
        }
    }
    // A silent connection is abandoned after a timeout, so no call is queued behind an earlier one.
    assert_eq!(queued, 0);
    assert_eq!(remote.stats().in_flight, 0);
    until("the abandoned connections are closed", || {
        remote.stats().open <= 1
    })
    .await;
}

#[tokio::test]
async fn a_message_that_cannot_be_encoded_affects_no_other_call() {
    let server = LocalAgent::serve(ScriptedAgent, memory("mux-oversize"))
        .await
        .unwrap();
    let remote = shared(server.endpoint())
        .frame_limits(FrameLimits::default().send(1000))
        .build()
        .unwrap();
    within(remote.process(Message::user("fits"))).await.unwrap();
    let error = within(remote.process(Message::user("x".repeat(1000))))
        .await
        .unwrap_err();
    assert!(error.is_encode(), "{error}");
    within(remote.process(Message::user("fits"))).await.unwrap();
    assert_eq!(remote.stats().open, 1);
}
