//! What a client retries, and what it does not.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::common::{RawPeer, ScriptedAgent, call, listen, memory, within};
use agentwire::{
    AgentError, Error, FrameLimits, LocalAgent, Message, RemoteAgent, RetryPolicy, WireError,
    agent_fn, transport::Listener,
};
use agentwire_codec::Body;
use futures_util::poll;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

fn soon() -> RetryPolicy {
    RetryPolicy::new().backoff(Duration::from_millis(1), Duration::from_millis(10))
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_a_server_that_starts_late() {
    let endpoint = memory("late");
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let early = call(&remote, "early");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let server = LocalAgent::serve(ScriptedAgent, &endpoint).await.unwrap();
    let reply = within(early).await.unwrap().unwrap();
    assert_eq!(reply.text(), Some("early"));
    within(server.stop()).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_starts_is_an_error_within_the_timeout() {
    let remote = RemoteAgent::builder(memory("never"))
        .timeout(Duration::from_secs(10))
        .connect_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    let start = Instant::now();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    let elapsed = start.elapsed();
    assert!(error.is_connect(), "{error}");
    // The client gives up when no time is left for the next delay, which is at most 2 s.
    assert!(
        elapsed <= Duration::from_secs(10) && elapsed >= Duration::from_secs(8),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_without_permission_is_an_error_at_once() {
    let endpoint = agentwire::Endpoint::custom("no transport");
    let remote = RemoteAgent::new(endpoint).unwrap();
    let start = Instant::now();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(error.is_connect(), "{error}");
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Closes connections after their request and counts them, then answers on the last one.
async fn fail_then_answer(
    mut listener: Listener,
    failures: usize,
    last_words: Option<Body>,
) -> usize {
    for served in 0..=failures {
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        if served == failures {
            peer.answer(&id, "at last").await;
            return served;
        }
        if let Some(body) = &last_words {
            peer.reply(&id, body.clone()).await;
        }
    }
    failures
}

#[tokio::test]
async fn a_sent_request_is_sent_again_only_if_resending_is_allowed() {
    for (resends, failures, is_answered) in
        [(0, 1, false), (1, 1, true), (1, 2, false), (3, 3, true)]
    {
        let (endpoint, listener) = listen("resend").await;
        let policy = soon().resend(resends);
        let remote = RemoteAgent::builder(&endpoint)
            .retry(policy)
            .build()
            .unwrap();
        let server = tokio::spawn(fail_then_answer(listener, failures, None));
        let result = within(remote.process(Message::user("x"))).await;
        if is_answered {
            assert_eq!(result.unwrap().text(), Some("at last"));
            assert_eq!(within(server).await.unwrap(), failures);
        } else {
            assert!(result.unwrap_err().is_disconnected());
            server.abort();
        }
    }
}

#[tokio::test]
async fn an_unavailable_agent_is_called_again_only_if_resending_is_allowed() {
    let unavailable = Body::Error(WireError::new("AGENT_UNAVAILABLE", "in a moment"));
    for resends in [0, 1] {
        let (endpoint, listener) = listen("unavailable").await;
        let remote = RemoteAgent::builder(&endpoint)
            .retry(soon().resend(resends))
            .build()
            .unwrap();
        let server = tokio::spawn(fail_then_answer(listener, 1, Some(unavailable.clone())));
        let result = within(remote.process(Message::user("x"))).await;
        match resends {
            0 => assert!(
                matches!(result, Err(Error::AgentUnavailable { .. })),
                "{result:?}"
            ),
            _ => assert_eq!(result.unwrap().text(), Some("at last")),
        }
        server.abort();
    }
}

#[tokio::test]
async fn a_stream_is_sent_again_only_before_its_first_chunk() {
    let (endpoint, mut listener) = listen("resend-stream").await;
    let remote = RemoteAgent::builder(&endpoint)
        .retry(soon().resend(5))
        .build()
        .unwrap();
    let server = tokio::spawn(async move {
        drop(RawPeer::accept(&mut listener).await);
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        let chunk = Body::StreamChunk(Message::agent("one"));
        peer.reply(&id, chunk).await;
    });
    let mut stream = remote.stream(Message::user("x"));
    assert_eq!(
        within(stream.next()).await.unwrap().unwrap().text(),
        Some("one")
    );
    within(server).await.unwrap();
    assert!(
        within(stream.next())
            .await
            .unwrap()
            .unwrap_err()
            .is_disconnected()
    );
    assert!(within(stream.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_fails_is_not_called_again() {
    let counted = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&counted);
    let failing = agent_fn("failing", move |_: Message| {
        calls.fetch_add(1, Relaxed);
        async { Err(AgentError::new("no")) }
    });
    let server = LocalAgent::serve(failing, memory("failing")).await.unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .retry(soon().resend(9))
        .build()
        .unwrap();
    assert!(
        within(remote.process(Message::user("x")))
            .await
            .unwrap_err()
            .is_remote()
    );
    assert_eq!(counted.load(Relaxed), 1);
}

#[tokio::test]
async fn a_backoff_of_zero_does_not_block_the_thread() {
    let remote = RemoteAgent::builder(memory("no-backoff"))
        .timeout(Duration::from_millis(500))
        .retry(RetryPolicy::new().backoff(Duration::ZERO, Duration::from_millis(100)))
        .build()
        .unwrap();
    let mut call = pin!(remote.process(Message::user("x")));
    // Without a minimum delay this one poll would retry until the timeout.
    assert!(poll!(&mut call).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_received_once_is_not_unsent_after_its_server_is_gone() {
    let (endpoint, mut listener) = listen("resend-to-nobody").await;
    let remote = RemoteAgent::builder(&endpoint)
        .retry(soon().resend(3))
        .build()
        .unwrap();
    let called = call(&remote, "x");
    let seen = RawPeer::asked(&mut listener).await;
    drop(listener);
    drop(seen);
    let error = called.await.unwrap().unwrap_err();
    assert!(error.is_disconnected() && error.was_sent(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_received_once_is_not_unsent_after_the_client_closed() {
    let (endpoint, mut listener) = listen("resend-when-closed").await;
    let remote = RemoteAgent::builder(&endpoint)
        .retry(soon().resend(3))
        .build()
        .unwrap();
    let called = call(&remote, "x");
    drop(RawPeer::asked(&mut listener).await);
    remote.close().await;
    let error = called.await.unwrap().unwrap_err();
    assert!(error.is_disconnected() && error.was_sent(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_oversize_answer_is_not_retried() {
    let counted = Arc::new(AtomicUsize::new(0));
    let calls = Arc::clone(&counted);
    let large = agent_fn("large", move |_: Message| {
        calls.fetch_add(1, Relaxed);
        async { Ok(Message::agent("x".repeat(5000))) }
    });
    let server = LocalAgent::serve(large, memory("large")).await.unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .frame_limits(FrameLimits::default().receive(1000))
        .retry(soon().resend(3))
        .build()
        .unwrap();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(error.is_protocol(), "{error}");
    assert_eq!(counted.load(Relaxed), 1);
}

#[tokio::test]
async fn a_request_that_a_closing_server_did_not_read_whole_is_sent_on_another_connection() {
    let (endpoint, mut listener) = listen("half").await;
    let remote = RemoteAgent::builder(&endpoint).retry(RetryPolicy::never());
    let remote = remote.build().unwrap();
    let first = call(&remote, "first");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&id, "kept").await;
    within(first).await.unwrap().unwrap();

    let large = "x".repeat(1 << 20);
    let second = call(&remote, &large);
    // The request has been sent in part when the server announces that it closes.
    within(peer.connection.read_u32()).await.unwrap();
    within(peer.connection.shutdown()).await.unwrap();
    let (mut other, id) = RawPeer::asked(&mut listener).await;
    other.answer(&id, "whole").await;
    let reply = within(second).await.unwrap().unwrap();
    assert_eq!(reply.text(), Some("whole"));
}
