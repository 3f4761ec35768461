//! Streams that end early: with the client, with their connection, or at a limit.

use std::time::Duration;

use crate::common::{RawPeer, ScriptedAgent, call, listen, memory, within};
use agentwire::{
    CallOptions, Error, ErrorCode, LocalAgent, Message, MessageStream, RemoteAgent, RetryPolicy,
    WireError, transport::Listener,
};
use agentwire_codec::Body;
use tokio::time::Instant;

/// Returns a stream whose first chunk has arrived, and the peer that sent it.
async fn begin(remote: &RemoteAgent, listener: &mut Listener) -> (MessageStream, RawPeer) {
    let mut stream = remote.stream(Message::user("x"));
    let server = async {
        let (mut peer, id) = RawPeer::asked(listener).await;
        let chunk = Body::StreamChunk(Message::agent("first"));
        peer.reply(&id, chunk).await;
        peer
    };
    let (first, peer) = tokio::join!(within(stream.next()), server);
    assert_eq!(first.unwrap().unwrap().text(), Some("first"));
    (stream, peer)
}

#[tokio::test]
async fn a_started_stream_is_not_unsent_when_the_client_closes() {
    let (endpoint, mut listener) = listen("stream-closed").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let (mut stream, _peer) = begin(&remote, &mut listener).await;
    within(remote.close()).await;
    let error = within(stream.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::ClientClosed { .. }), "{error:?}");
    assert!(error.was_sent(), "{error:?}");
}

#[tokio::test]
async fn buffered_chunks_do_not_outlive_the_client() {
    let server = LocalAgent::serve(ScriptedAgent, memory("stream-outlast"))
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let mut stream = remote.stream(Message::user("x").with_metadata("count", 100_000));
    within(stream.next()).await.unwrap().unwrap();
    within(remote.close()).await;
    let end = within(stream.next()).await.unwrap();
    assert!(matches!(end, Err(Error::ClientClosed { .. })), "{end:?}");
    assert!(within(stream.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_the_client_ends_the_wait_for_the_first_chunk() {
    let (endpoint, mut listener) = listen("stream-waiting").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let mut stream = remote.stream(Message::user("x"));
    let waiting = tokio::spawn(async move { stream.next().await });
    let _silent = RawPeer::asked(&mut listener).await;
    let start = Instant::now();
    remote.close().await;
    let error = waiting.await.unwrap().unwrap().unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(matches!(error, Error::ClientClosed { .. }), "{error:?}");
    assert!(error.was_sent(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_total_timeout_holds_even_if_every_chunk_is_in_time() {
    let limit = Duration::from_secs(1);
    let server = LocalAgent::serve(ScriptedAgent, memory("stream-limit"))
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let mut stream = remote.stream_with(
        Message::user("x").with_metadata("count", 1_000_000),
        &CallOptions::new().total_timeout(limit),
    );
    let start = Instant::now();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(_) => tokio::time::sleep(limit / 10).await,
            Err(error) => break error,
        }
        assert!(start.elapsed() <= limit, "{:?}", start.elapsed());
    };
    assert!(error.is_timeout(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_error_names_the_total_timeout_if_that_was_reached() {
    let (endpoint, _listener) = listen("stream-limit-named").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let limit = Duration::from_secs(1);
    let options = CallOptions::new().total_timeout(limit);
    let mut stream = remote.stream_with(Message::user("x"), &options);
    let end = stream.next().await.unwrap();
    assert!(
        matches!(end, Err(Error::Timeout { timeout, .. }) if timeout == limit),
        "{end:?}"
    );
}

#[tokio::test]
async fn a_connection_that_is_lost_during_a_stream_counts_as_lost() {
    let (endpoint, mut listener) = listen("stream-lost").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let (mut stream, peer) = begin(&remote, &mut listener).await;
    drop(peer);
    let error = within(stream.next()).await.unwrap().unwrap_err();
    assert!(error.is_disconnected(), "{error}");

    let called = call(&remote, "again");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&id, "x").await;
    within(called).await.unwrap().unwrap();
    assert_eq!(remote.stats().reconnects, 1);
}

#[tokio::test]
async fn a_stream_answered_without_a_chunk_holds_no_connection() {
    let (endpoint, mut listener) = listen("stream-no-chunk").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let mut stream = remote.stream(Message::user("x"));
    let server = async {
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        peer.answer(&id, "no chunk").await;
        peer
    };
    let (first, _peer) = tokio::join!(within(stream.next()), server);
    assert!(first.unwrap().unwrap_err().is_protocol());
    // The stream still exists, at its end.
    assert_eq!(remote.stats().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_its_retry_holds_no_connection() {
    let (endpoint, mut listener) = listen("stream-resend").await;
    let wait = Duration::from_secs(20);
    let remote = RemoteAgent::builder(&endpoint)
        .retry(RetryPolicy::new().resend(1).backoff(wait, wait))
        .build()
        .unwrap();
    let mut stream = remote.stream(Message::user("x"));
    let _waiting = tokio::spawn(async move { stream.next().await });
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    let later = WireError::new(ErrorCode::AGENT_UNAVAILABLE, "later");
    peer.reply(&id, later).await;
    // Less than half of the delay, which is the most that jitter takes away.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((remote.stats().open, remote.stats().idle), (1, 1));
}
