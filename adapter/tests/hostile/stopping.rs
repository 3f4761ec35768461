//! A server that stops loses no answer, whatever its peers still send.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use agentwire::{Endpoint, LocalAgent, Message, agent_fn};
use agentwire_codec::{Body, Envelope, ErrorCode};
use tokio::{
    io::{AsyncWriteExt, split},
    sync::Semaphore,
    task::yield_now,
};

use crate::common::{RawPeer, memory, process_frame, within};

#[tokio::test]
async fn finished_answers_reach_a_slow_reader_that_sends_one_more_request() {
    for carrier in ["unix", "tcp", "memory"] {
        for unread in [1, 4, 10, REQUESTS] {
            let answers = answers_around_a_stop(carrier, unread).await;
            assert_eq!(answers, REQUESTS, "{carrier}, {unread} unread answers");
        }
    }
}

/// Stops a server while up to `unread` answers wait for a peer that then sends one more request.
/// Returns the number of answers to the earlier requests that the peer receives.
async fn answers_around_a_stop(carrier: &str, unread: usize) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let agent = agent_fn("counter", move |message: Message| {
        counter.fetch_add(1, SeqCst);
        async move { Ok(message) }
    });
    let endpoint = endpoint(carrier, &directory);
    let server = within(LocalAgent::serve(agent, endpoint)).await.unwrap();
    let server = Arc::new(server);

    let connection = RawPeer::connect(server.endpoint()).await.connection;
    let (reader, mut writer) = split(connection);
    let request = process_frame("early", Message::user("x".repeat(REQUEST_LEN)));
    let late = process_frame("late", Message::user("x"));
    let written = tokio::spawn(async move {
        for _ in 0..REQUESTS {
            writer.write_all(&request).await.unwrap();
        }
        writer
    });
    // If the buffers of the system are small, the server reads the last requests only once the peer
    // has read more answers.
    let mut reader = FrameReader(reader);
    let mut answers = 0;
    other_tasks_run().await;
    while begun.load(SeqCst) < REQUESTS || REQUESTS - answers > unread {
        assert_eq!(reader.next().await.unwrap().id, "early".into());
        answers += 1;
        other_tasks_run().await;
    }
    let mut writer = within(written).await.unwrap();

    let stop = tokio::spawn({
        let server = Arc::clone(&server);
        async move { within(server.stop()).await }
    });
    listener_closed(server.endpoint()).await;
    other_tasks_run().await;
    // The server may have closed its sending half, but not yet the connection.
    writer.write_all(&late).await.unwrap();
    other_tasks_run().await;
    while let Some(envelope) = reader.next().await {
        if envelope.id == "early".into() {
            assert!(matches!(envelope.body, Body::Response(_)), "{envelope:?}");
            answers += 1;
        }
    }
    drop((reader, writer));
    within(stop).await.unwrap();
    answers
}

#[tokio::test]
async fn a_request_to_a_stopping_server_is_refused_as_safe_to_send_again() {
    for carrier in ["unix", "tcp", "memory"] {
        let directory = tempfile::tempdir().unwrap();
        let leave = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&leave);
        let agent = agent_fn("gate", move |message: Message| {
            let gate = Arc::clone(&gate);
            async move {
                if message.text() == Some("wait") {
                    gate.acquire().await?.forget();
                }
                Ok(message)
            }
        });
        let endpoint = endpoint(carrier, &directory);
        let server = within(LocalAgent::serve(agent, endpoint)).await.unwrap();
        let server = Arc::new(server);
        let mut peer = RawPeer::connect(server.endpoint()).await;
        peer.send(&process_frame("waits", Message::user("wait")))
            .await;
        peer.send(&process_frame("quick", Message::user("x"))).await;
        assert_eq!(peer.receive().await.id, "quick".into());

        let stop = tokio::spawn({
            let server = Arc::clone(&server);
            async move { within(server.stop()).await }
        });
        listener_closed(server.endpoint()).await;
        // The connection may learn of the stop a little later than the listener.
        let refusal = loop {
            peer.send(&process_frame("late", Message::user("x"))).await;
            let answer = peer.receive().await;
            assert_eq!(answer.id, "late".into());
            if let Body::Error(error) = answer.body {
                break error;
            }
        };
        assert_eq!(refusal.code, ErrorCode::AGENT_UNAVAILABLE);
        assert_eq!(refusal.details["reason"], "stopping");

        leave.add_permits(1);
        assert_eq!(peer.receive().await.id, "waits".into());
        peer.receive_end().await;
        drop(peer);
        within(stop).await.unwrap();
    }
}

async fn other_tasks_run() {
    for _ in 0..YIELDS {
        yield_now().await;
    }
}

fn endpoint(carrier: &str, directory: &tempfile::TempDir) -> Endpoint {
    match carrier {
        "unix" => Endpoint::unix(directory.path().join("agent.sock")).unwrap(),
        "tcp" => "tcp://127.0.0.1:0".parse().unwrap(),
        _ => memory("stopping"),
    }
}

/// Waits until a server that is stopping accepts no more connections.
async fn listener_closed(endpoint: &Endpoint) {
    within(async {
        while agentwire::transport::connect(endpoint).await.is_ok() {
            yield_now().await;
        }
    })
    .await;
}

/// Reads the frames of one half of a connection.
struct FrameReader<R>(R);

impl<R: tokio::io::AsyncRead + Unpin> FrameReader<R> {
    /// Returns the next envelope, or `None` at a proper end.
    async fn next(&mut self) -> Option<Envelope> {
        use tokio::io::AsyncReadExt;

        let mut header = [0; 4];
        within(self.0.read(&mut header[..1]))
            .await
            .unwrap()
            .eq(&1)
            .then_some(())?;
        within(self.0.read_exact(&mut header[1..])).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes(header) as usize];
        within(self.0.read_exact(&mut payload)).await.unwrap();
        Some(agentwire_codec::Format::Json.decode(&payload).unwrap())
    }
}

/// Requests and answers of this size fill the buffers of the system.
const REQUESTS: usize = 20;
const REQUEST_LEN: usize = 40_000;

/// How many turns other tasks get before the peer goes on.
const YIELDS: usize = 100;
