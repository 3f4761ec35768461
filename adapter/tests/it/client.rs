//! The connections of a client over time: how many there are, when they close, and what statistics
//! say.

use std::time::Duration;

use crate::common::{RawPeer, ScriptedAgent, call, listen, memory, until, within};
use agentwire::{
    CallOptions, Error, ErrorCode, LocalAgent, Message, Phase, RemoteAgent, RequestContext,
    RetryPolicy, WireError,
};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_before_the_server_does() {
    let (endpoint, mut listener) = listen("idle").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let called = call(&remote, "x");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&id, "x").await;
    called.await.unwrap().unwrap();
    assert_eq!((remote.stats().open, remote.stats().idle), (1, 1));
    let start = Instant::now();
    // The client closes the idle connection without a further call.
    peer.receive_end_within(Duration::from_secs(60)).await;
    assert!(
        start.elapsed() >= Duration::from_secs(49),
        "{:?}",
        start.elapsed()
    );
    assert_eq!((remote.stats().open, remote.stats().idle), (0, 0));
}

#[tokio::test]
async fn closing_waits_for_calls_and_refuses_more() {
    let (endpoint, mut listener) = listen("close").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let called = call(&remote, "x");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    let closer = remote.clone();
    let closing = tokio::spawn(async move { closer.close().await });
    until("the client refuses calls", || {
        let refused = futures_util::FutureExt::now_or_never(remote.process(Message::user("x")));
        matches!(refused, Some(Err(Error::ClientClosed { .. })))
    })
    .await;
    assert!(!closing.is_finished(), "a call is in flight");
    peer.answer(&id, "still answered").await;
    assert_eq!(
        within(called).await.unwrap().unwrap().text(),
        Some("still answered")
    );
    within(closing).await.unwrap();
    peer.receive_end().await;
    let stats = remote.stats();
    assert_eq!((stats.open, stats.idle, stats.in_flight), (0, 0, 0));
    let mut stream = remote.stream(Message::user("x"));
    let refused = within(stream.next()).await.unwrap();
    assert!(
        matches!(refused, Err(Error::ClientClosed { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn closing_ends_streams_and_waiting_calls() {
    let server = LocalAgent::serve(ScriptedAgent, memory("close-stream"))
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .max_connections(1)
        .build()
        .unwrap();
    let mut stream = remote.stream(Message::user("x").with_metadata("count", 1_000_000));
    within(stream.next()).await.unwrap().unwrap();
    let waiting = call(&remote, "x");
    until("one call waits", || remote.stats().waiting == 1).await;
    within(remote.close()).await;
    let refused = within(waiting).await.unwrap();
    assert!(
        matches!(refused, Err(Error::ClientClosed { .. })),
        "{refused:?}"
    );
    let end = loop {
        match within(stream.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(end, Error::ClientClosed { .. }), "{end:?}");
    assert_eq!(remote.stats().open, 0);
}

#[tokio::test]
async fn any_answer_to_a_ping_is_a_success() {
    let server = LocalAgent::serve(ScriptedAgent, memory("ping"))
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    within(remote.ping()).await.unwrap();
    // The connection still serves calls.
    within(remote.process(Message::user("x"))).await.unwrap();
    assert_eq!(remote.stats().open, 1);

    // The Go server closes the connection instead.
    let (endpoint, mut listener) = listen("ping-closed").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let server = async { drop(RawPeer::asked(&mut listener).await) };
    let (ping, ()) = tokio::join!(within(remote.ping()), server);
    ping.unwrap();

    let nobody = RemoteAgent::builder(memory("ping-nobody"))
        .retry(RetryPolicy::never())
        .build();
    assert!(
        within(nobody.unwrap().ping())
            .await
            .unwrap_err()
            .is_connect()
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_agent_is_unavailable_answers_pings() {
    let (endpoint, mut listener) = listen("ping-unavailable").await;
    let remote = RemoteAgent::builder(&endpoint)
        .retry(RetryPolicy::new().resend(1))
        .build()
        .unwrap();
    let server = async {
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        let later = WireError::new(ErrorCode::AGENT_UNAVAILABLE, "later");
        peer.reply(&id, later).await;
        peer
    };
    let (ping, _peer) = tokio::join!(remote.ping(), server);
    ping.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_ping_times_out() {
    let (endpoint, mut listener) = listen("ping-silent").await;
    let remote = RemoteAgent::builder(&endpoint)
        .timeout(Duration::from_secs(3))
        .build()
        .unwrap();
    let ping = tokio::spawn(async move { remote.ping().await });
    let _peer = RawPeer::asked(&mut listener).await;
    let error = ping.await.unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                phase: Phase::Receiving,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_have_a_total_timeout() {
    // An endless stream with a chunk every second.
    let endless = |message: Message| {
        let content = message.content;
        futures_util::stream::unfold(content, |content| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok(Message::agent(content.clone())), content))
        })
    };
    struct Endless<F>(F);
    impl<F, S> agentwire::Agent for Endless<F>
    where
        F: Fn(Message) -> S + Send + Sync + 'static,
        S: futures_core::Stream<Item = Result<Message, agentwire::AgentError>> + Send,
    {
        fn name(&self) -> &str {
            "endless"
        }
        async fn process(
            &self,
            message: Message,
            _: RequestContext,
        ) -> Result<Message, agentwire::AgentError> {
            Ok(message)
        }
        fn stream(
            &self,
            message: Message,
            _: RequestContext,
        ) -> impl futures_core::Stream<Item = Result<Message, agentwire::AgentError>> + Send
        {
            (self.0)(message)
        }
    }
    let server = LocalAgent::serve(Endless(endless), memory("total"))
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let options = CallOptions::new()
        .timeout(Duration::from_secs(5))
        .total_timeout(Duration::from_millis(10_500));
    let start = Instant::now();
    let mut stream = remote.stream_with(Message::user("x"), &options);
    let mut chunks = 0;
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(_) => chunks += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(chunks, 10);
    assert!(error.is_timeout(), "{error}");
    assert_eq!(start.elapsed(), Duration::from_millis(10_500));
}

#[tokio::test]
async fn dropping_the_last_clone_closes_everything() {
    let (endpoint, mut listener) = listen("last-clone").await;
    for in_flight in [1, 8] {
        let builder = RemoteAgent::builder(&endpoint).max_in_flight_per_connection(in_flight);
        let remote = builder.build().unwrap();
        let called = call(&remote, "x");
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        peer.answer(&id, "x").await;
        within(called).await.unwrap().unwrap();
        drop(remote);
        peer.receive_end().await;
    }
}
