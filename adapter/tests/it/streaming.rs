//! Streams of answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::common::{RawPeer, ScriptedAgent, memory, process_frame, stream_frame, within};
use agentwire::{
    Agent, AgentError, CallOptions, Endpoint, FrameLimits, LocalAgent, Message, RemoteAgent,
    RequestContext, Value, agent_fn,
};
use agentwire_codec::Body;
use futures_core::Stream;
use futures_util::stream;
use tokio::sync::mpsc;

async fn collect(remote: &RemoteAgent, message: Message) -> (Vec<Value>, Option<String>) {
    let (mut chunks, mut error) = (Vec::new(), None);
    let mut stream = remote.stream(message);
    while let Some(answer) = within(stream.next()).await {
        assert!(error.is_none(), "no chunk follows an error");
        match answer {
            Ok(chunk) => chunks.push(chunk.metadata.get("i").cloned().unwrap_or_default()),
            Err(failure) => error = Some(failure.remote().unwrap().message.clone()),
        }
    }
    assert!(
        within(stream.next()).await.is_none(),
        "no chunk follows the end"
    );
    (chunks, error)
}

#[tokio::test]
async fn streams_of_any_length_arrive_in_order_and_share_a_connection() {
    let endpoint = memory("streams");
    let builder = LocalAgent::builder(ScriptedAgent).max_connections(1);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    for count in [0, 1, 2, 1000] {
        let (chunks, error) =
            collect(&remote, Message::user("x").with_metadata("count", count)).await;
        assert_eq!(chunks, (0..count).map(Value::from).collect::<Vec<_>>());
        assert_eq!(error, None);
    }
}

#[tokio::test]
async fn an_error_follows_its_chunks_and_the_connection_stays_usable() {
    let endpoint = memory("stream-errors");
    let builder = LocalAgent::builder(ScriptedAgent).max_connections(1);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    for after in 0..3 {
        let message = Message::user("x").with_metadata("fail_after", after);
        let (chunks, error) = collect(&remote, message).await;
        assert_eq!(chunks.len(), after);
        assert_eq!(error, Some(format!("failed after {after}")));
    }
}

#[tokio::test]
async fn an_agent_that_does_not_stream_says_so_as_python_does() {
    let endpoint = memory("mute");
    let mute = agent_fn("mute", |message: Message| async move { Ok(message) });
    let _server = within(LocalAgent::serve(mute, &endpoint)).await.unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let (chunks, error) = collect(&remote, Message::user("x")).await;
    assert!(chunks.is_empty());
    assert_eq!(error.as_deref(), Some("mute does not support streaming"));
}

/// An agent that streams without an end, counts its chunks, and reports when a stream is dropped.
struct Endless {
    made: Arc<AtomicUsize>,
    dropped: mpsc::UnboundedSender<()>,
}

struct TellDrop(mpsc::UnboundedSender<()>);

impl Drop for TellDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

impl Agent for Endless {
    fn name(&self) -> &str {
        "endless"
    }

    async fn process(&self, _message: Message, _: RequestContext) -> Result<Message, AgentError> {
        let _tell = TellDrop(self.dropped.clone());
        std::future::pending().await
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let tell = TellDrop(self.dropped.clone());
        stream::repeat_with(move || {
            let _ = &tell;
            self.made.fetch_add(1, Ordering::Relaxed);
            Ok(Message::agent(message.content.clone()))
        })
    }
}

async fn endless(
    endpoint: &Endpoint,
) -> (LocalAgent, Arc<AtomicUsize>, mpsc::UnboundedReceiver<()>) {
    let (sender, dropped) = mpsc::unbounded_channel();
    let made = Arc::new(AtomicUsize::new(0));
    let agent = Endless {
        made: Arc::clone(&made),
        dropped: sender,
    };
    (
        within(LocalAgent::serve(agent, endpoint)).await.unwrap(),
        made,
        dropped,
    )
}

#[tokio::test]
async fn dropping_a_stream_stops_the_agent() {
    let endpoint = memory("dropped-stream");
    let (_server, _, mut dropped) = endless(&endpoint).await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let mut stream = remote.stream(Message::user("x"));
    within(stream.next()).await.unwrap().unwrap();
    drop(stream);
    within(dropped.recv()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_stops_the_agent() {
    let endpoint = memory("dropped-call");
    let (_server, _, mut dropped) = endless(&endpoint).await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let options = CallOptions::new().timeout(Duration::from_millis(20));
    let error = within(remote.process_with(Message::user("x"), &options))
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error}");
    within(dropped.recv()).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_slows_the_agent_down() {
    let endpoint = memory("slow-reader");
    let (_server, made, _dropped) = endless(&endpoint).await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let mut slow = remote.stream(Message::user("x".repeat(1024)));
    within(slow.next()).await.unwrap().unwrap();
    // Other streams are served meanwhile, often enough for the agent to fill all buffers.
    for _ in 0..200 {
        let mut other = remote.stream(Message::user("y"));
        within(other.next()).await.unwrap().unwrap();
    }
    let before = made.load(Ordering::Relaxed);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        made.load(Ordering::Relaxed),
        before,
        "the agent continues without a reader"
    );
    within(slow.next()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_chunk_over_the_limit_ends_the_stream_with_an_error() {
    let endpoint = memory("large-chunk");
    let builder =
        LocalAgent::builder(ScriptedAgent).frame_limits(FrameLimits::default().send(1000));
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let (chunks, error) = collect(&remote, Message::user("x".repeat(2000))).await;
    assert!(chunks.is_empty());
    assert!(error.unwrap().contains("limit of 1000"));
}

/// An agent that streams messages over the frame limit. Its stream panics when it is dropped.
struct PanickingAgent;

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("the stream panicked on drop");
    }
}

impl Agent for PanickingAgent {
    fn name(&self) -> &str {
        "panicking"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(message)
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let panics = Panics;
        stream::repeat_with(move || {
            let _kept = &panics;
            Ok(message.clone())
        })
    }
}

#[tokio::test]
async fn a_stream_that_panics_on_drop_harms_no_other_request() {
    let endpoint = memory("panicking");
    let builder =
        LocalAgent::builder(PanickingAgent).frame_limits(FrameLimits::default().send(1000));
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    peer.send(&stream_frame("large", Message::user("x".repeat(2000))))
        .await;
    assert!(matches!(peer.receive().await.body, Body::Error(_)));
    peer.send(&process_frame("next", Message::user("x"))).await;
    assert_eq!(peer.receive().await.id, "next".into());
}

#[tokio::test]
async fn waiting_for_a_chunk_is_cancel_safe() {
    let endpoint = memory("cancel-next");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let mut stream = remote.stream(Message::user("x").with_metadata("count", 50));
    let mut seen = Vec::new();
    loop {
        tokio::select! {
            biased;
            answer = stream.next() => match answer {
                Some(chunk) => seen.push(chunk.unwrap().metadata.get("i").unwrap().as_u64().unwrap()),
                None => break,
            },
            // Ready at once, so every wait is cancelled.
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(seen, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_of_many_megabytes_never_stalls() {
    let directory = tempfile::TempDir::new().unwrap();
    let unix = Endpoint::unix(directory.path().join("agent.sock")).unwrap();
    for endpoint in [
        unix,
        "tcp://127.0.0.1:0".parse().unwrap(),
        memory("megabytes"),
    ] {
        let server = within(LocalAgent::serve(ScriptedAgent, endpoint))
            .await
            .unwrap();
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let message = Message::user("x".repeat(1024)).with_metadata("count", 5000);
        let (chunks, error) = collect(&remote, message).await;
        assert_eq!((chunks.len(), error), (5000, None));
    }
}

#[tokio::test]
async fn a_disconnect_is_detected_however_much_the_peer_requested() {
    let endpoint = memory("leaving");
    let (sender, mut dropped) = mpsc::unbounded_channel();
    let agent = Endless {
        made: Arc::default(),
        dropped: sender,
    };
    let builder = LocalAgent::builder(agent).max_in_flight_per_connection(2);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    for last in [
        process_frame("3", Message::user("x")).to_vec(),
        vec![0xff; 4],
    ] {
        let mut peer = RawPeer::connect(&endpoint).await;
        for id in ["1", "2"] {
            peer.send(&process_frame(id, Message::user("x"))).await;
        }
        peer.send(&last).await;
        // Lets the server read all of it, so that its agents are working when the peer disconnects.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        drop(peer);
        for _ in 0..2 {
            within(dropped.recv()).await.unwrap();
        }
    }
}
