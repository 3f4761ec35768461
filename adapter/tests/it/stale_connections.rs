//! Pooled connections that the network or the server has given up.

use std::time::Duration;

use crate::common::{RawPeer, call, listen, within};
use agentwire::{Endpoint, RemoteAgent, RemoteAgentBuilder, transport::Listener};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Settings of a client for exclusive and for shared connections, each with an endpoint.
async fn clients(test: &str) -> Vec<(RemoteAgentBuilder, Endpoint, Listener)> {
    let mut clients = Vec::new();
    for in_flight in [1, 8] {
        let (endpoint, listener) = listen(test).await;
        let builder = RemoteAgent::builder(&endpoint).max_in_flight_per_connection(in_flight);
        clients.push((builder, endpoint, listener));
    }
    clients
}

/// Opens connections with calls at the same time, and answers them in order.
async fn open(remote: &RemoteAgent, listener: &mut Listener, count: usize) -> Vec<RawPeer> {
    let mut asked = Vec::new();
    for _ in 0..count {
        let called = call(remote, "x");
        let (peer, id) = RawPeer::asked(listener).await;
        asked.push((called, peer, id));
    }
    let mut peers = Vec::new();
    for (called, mut peer, id) in asked {
        peer.answer(&id, "x").await;
        within(called).await.unwrap().unwrap();
        peers.push(peer);
    }
    assert_eq!(remote.stats().idle, count);
    peers
}

#[tokio::test(start_paused = true)]
async fn dead_connections_cost_one_timeout_together() {
    for (builder, _, mut listener) in clients("dead").await {
        let remote = builder.timeout(SECOND).build().unwrap();
        let silent = open(&remote, &mut listener, 8).await;
        sleep(10 * SECOND).await;
        // The network has forgotten all of them. They stay open, and nothing arrives.
        let error = call(&remote, "lost").await.unwrap().unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        let called = call(&remote, "x");
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        peer.answer(&id, "at last").await;
        assert_eq!(called.await.unwrap().unwrap().text(), Some("at last"));
        assert_eq!(remote.stats().open, 1);
        drop(silent);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_answered_since_outlives_the_timeout_of_another() {
    let (endpoint, mut listener) = listen("proven").await;
    let remote = RemoteAgent::builder(&endpoint)
        .timeout(5 * SECOND)
        .build()
        .unwrap();
    let mut peers = open(&remote, &mut listener, 3).await;
    sleep(SECOND).await;
    // The connection that was used last is used first, by a call without an answer.
    let lost = call(&remote, "lost");
    let id = peers[2].receive().await.id;
    sleep(SECOND).await;
    // Another call begins later, and its connection answers.
    let proven = call(&remote, "x");
    let answered = peers[1].receive().await.id;
    peers[1].answer(&answered, "x").await;
    within(proven).await.unwrap().unwrap();
    assert!(lost.await.unwrap().unwrap_err().is_timeout());
    let stats = remote.stats();
    assert_eq!(
        (stats.open, stats.idle),
        (1, 1),
        "the third is as old as the lost one: {id}"
    );
    let called = call(&remote, "x");
    let id = peers[1].receive().await.id;
    peers[1].answer(&id, "x").await;
    within(called).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_on_a_new_connection_closes_no_other() {
    let (endpoint, mut listener) = listen("slow").await;
    let remote = RemoteAgent::builder(&endpoint)
        .timeout(SECOND)
        .build()
        .unwrap();
    let mut peers = open(&remote, &mut listener, 1).await;
    let used = call(&remote, "x");
    let id = peers[0].receive().await.id;
    let slow = call(&remote, "slow");
    let (_slow_peer, _) = RawPeer::asked(&mut listener).await;
    peers[0].answer(&id, "x").await;
    within(used).await.unwrap().unwrap();
    assert!(slow.await.unwrap().unwrap_err().is_timeout());
    assert_eq!(remote.stats().idle, 1);
}

/// Answers the requests of every connection, and closes a connection that has been idle for some
/// time. It never returns.
async fn serve_impatiently(mut listener: Listener, idle_timeout: Duration) {
    loop {
        let connection = listener.accept().await.unwrap();
        let mut peer = RawPeer { connection };
        tokio::spawn(async move {
            while let Ok(request) = tokio::time::timeout(idle_timeout, peer.receive_or_end()).await
            {
                let Some(request) = request else { return };
                peer.answer(&request.id, "x").await;
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_early_is_learned_from() {
    for (builder, _, listener) in clients("early").await {
        let remote = builder.build().unwrap();
        let server = tokio::spawn(serve_impatiently(listener, 10 * SECOND));
        call(&remote, "x").await.unwrap().unwrap();
        sleep(12 * SECOND).await;
        // The server has closed the connection, which costs nothing.
        call(&remote, "x").await.unwrap().unwrap();
        // From now on the client closes its connections first, and calls at the pace of the server
        // never meet a connection that is being closed.
        let start = Instant::now();
        while remote.stats().open > 0 {
            sleep(SECOND / 10).await;
        }
        let elapsed = start.elapsed();
        assert!(
            elapsed >= 7 * SECOND && elapsed < 10 * SECOND,
            "{elapsed:?}"
        );
        let before = remote.stats().reconnects;
        for _ in 0..20 {
            call(&remote, "x").await.unwrap().unwrap();
            sleep(10 * SECOND).await;
        }
        assert_eq!(remote.stats().reconnects, before, "the server closed none");
        server.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_meets_the_close_of_the_server_is_the_only_one() {
    for (builder, _, mut listener) in clients("crossing").await {
        let remote = builder.build().unwrap();
        let mut peers = open(&remote, &mut listener, 1).await;
        sleep(10 * SECOND).await;
        // The server closes the idle connection while the request is on its way.
        let crossed = call(&remote, "x");
        peers[0].receive().await;
        drop(peers);
        assert!(crossed.await.unwrap().unwrap_err().is_disconnected());
        let _peers = open(&remote, &mut listener, 1).await;
        let start = Instant::now();
        while remote.stats().open > 0 {
            sleep(SECOND / 10).await;
        }
        let elapsed = start.elapsed();
        assert!(
            elapsed >= 7 * SECOND && elapsed < 10 * SECOND,
            "{elapsed:?}"
        );
    }
}
