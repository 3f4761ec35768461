//! Shared connections when calls are dropped or refused, and when the client closes.

use std::{pin::pin, time::Duration};

use crate::common::{RawPeer, ScriptedAgent, call, listen, memory, shared, within};
use agentwire::{FrameLimits, LocalAgent, Message};
use futures_util::poll;
use tokio::time::timeout;

#[tokio::test(start_paused = true)]
async fn the_refusal_of_a_dropped_call_affects_no_other() {
    let limits = FrameLimits::default().receive(100_000);
    let server = LocalAgent::builder(ScriptedAgent)
        .frame_limits(limits)
        .endpoint(memory("refusal"))
        .serve()
        .await
        .unwrap();
    let remote = shared(server.endpoint()).build().unwrap();
    let caller = remote.clone();
    let slow = tokio::spawn(async move {
        let message = Message::user("slow").with_metadata("do", "slow");
        caller.process(message).await
    });
    // Long enough for the request to reach the agent.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let oversize = remote.process(Message::user("x".repeat(200_000)));
    let given_up = timeout(Duration::ZERO, oversize).await;
    assert!(given_up.is_err(), "{given_up:?}");
    // The server reports an oversize frame without an id, and then answers the earlier request.
    assert_eq!(slow.await.unwrap().unwrap().text(), Some("slow"));
}

#[tokio::test]
async fn a_failed_write_does_not_lose_an_answer_that_has_arrived() {
    let (endpoint, mut listener) = listen("answered").await;
    let remote = shared(&endpoint).build().unwrap();
    let first = call(&remote, "first");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    // The server stops after its answer, while another call is being written.
    peer.answer(&id, "answered").await;
    drop(peer);
    let mut second = pin!(remote.process(Message::user("second")));
    assert!(poll!(&mut second).is_pending());
    let reply = within(first).await.unwrap().unwrap();
    assert_eq!(reply.text(), Some("answered"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_only_call_was_dropped_is_idle() {
    let (endpoint, mut listener) = listen("given-up").await;
    let remote = shared(&endpoint).build().unwrap();
    let given_up = call(&remote, "x");
    let (mut peer, _) = RawPeer::asked(&mut listener).await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    peer.receive_end_within(Duration::from_secs(60)).await;
    assert_eq!(remote.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_that_were_dropped_before_they_were_sent_release_their_slots() {
    let (endpoint, mut listener) = listen("stuck").await;
    let remote = shared(&endpoint)
        .max_in_flight_per_connection(4)
        .timeout(Duration::from_secs(300))
        .build()
        .unwrap();
    let large = "x".repeat(256 * 1024);
    for _ in 0..10 {
        let call = remote.process(Message::user(large.as_str()));
        let given_up = timeout(Duration::from_secs(1), call).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    // The connection is never read.
    let _stuck = RawPeer::accept(&mut listener).await;
    let _next = call(&remote, "x");
    let accepted = timeout(Duration::from_secs(100), listener.accept()).await;
    assert!(accepted.is_ok(), "no other connection is made");
}

#[tokio::test(start_paused = true)]
async fn closing_closes_connections_as_they_become_free() {
    let (endpoint, mut listener) = listen("closing").await;
    let remote = shared(&endpoint).max_connections(2).build().unwrap();
    let first = call(&remote, "first");
    let (mut free, id) = RawPeer::asked(&mut listener).await;
    let second = call(&remote, "second");
    let _busy = RawPeer::asked(&mut listener).await;
    free.answer(&id, "x").await;
    first.await.unwrap().unwrap();
    assert_eq!((remote.stats().open, remote.stats().idle), (2, 1));

    let closing = timeout(Duration::from_secs(1), remote.close()).await;
    assert!(closing.is_err(), "a call is in flight");
    assert_eq!(remote.stats().open, 1);
    free.receive_end().await;

    assert!(second.await.unwrap().unwrap_err().is_timeout());
    remote.close().await;
    assert_eq!(remote.stats().open, 0);
}
