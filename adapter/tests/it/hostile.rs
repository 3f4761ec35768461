//! Hostile peers, over every carrier: the server survives and keeps serving other clients.

use std::{pin::pin, task::Poll};

use crate::common::{RawPeer, ScriptedAgent, call, listen, memory, process_frame, until, within};
use agentwire::{Endpoint, LocalAgent, Message, RemoteAgent};
use agentwire_codec::{Body, Response};
use futures_util::poll;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, task::yield_now};

struct TestServer {
    agent: LocalAgent,
    honest: RemoteAgent,
    _directory: TempDir,
}

impl TestServer {
    /// Serves an agent over each carrier, with a low limit on requests in flight.
    async fn on_each_carrier() -> Vec<Self> {
        let mut servers = Vec::new();
        for carrier in ["unix", "tcp", "memory"] {
            let directory = tempfile::tempdir().unwrap();
            let endpoint = match carrier {
                "unix" => Endpoint::unix(directory.path().join("agent.sock")).unwrap(),
                "tcp" => "tcp://127.0.0.1:0".parse().unwrap(),
                _ => memory("hostile"),
            };
            let builder = LocalAgent::builder(ScriptedAgent).max_in_flight_per_connection(4);
            let agent = within(builder.endpoint(endpoint).serve()).await.unwrap();
            let honest = RemoteAgent::new(agent.endpoint()).unwrap();
            servers.push(Self {
                agent,
                honest,
                _directory: directory,
            });
        }
        servers
    }

    async fn peer(&self) -> RawPeer {
        RawPeer::connect(self.agent.endpoint()).await
    }

    async fn serves_others(&self) {
        let reply = within(self.honest.process(Message::user("honest")))
            .await
            .unwrap();
        assert_eq!(reply.text(), Some("honest"));
    }
}

#[tokio::test]
async fn a_flood_of_requests_whose_answers_are_not_read() {
    for server in TestServer::on_each_carrier().await {
        let mut peer = server.peer().await;
        let frame = process_frame("7", Message::user("x".repeat(10_000)));
        // The peer writes until the server stops reading.
        let mut sent = 0;
        while let Some(written) = without_waiting(peer.connection.write_all(&frame)).await {
            written.unwrap();
            sent += 1;
            assert!(
                sent < 10_000,
                "the server takes in {sent} requests of 10 KB"
            );
        }
        server.serves_others().await;
    }
}

/// The output of a future that is ready after other tasks have had many turns, with no need for
/// time to pass.
async fn without_waiting<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..1000 {
        if let Poll::Ready(output) = poll!(&mut future) {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

#[tokio::test]
async fn requests_with_the_same_id_are_each_answered() {
    for server in TestServer::on_each_carrier().await {
        let mut peer = server.peer().await;
        for number in 0..20 {
            peer.send(&process_frame("same", Message::user(number)))
                .await;
        }
        let mut answers = Vec::new();
        for _ in 0..20 {
            let envelope = peer.receive().await;
            assert_eq!(envelope.id.to_string(), "same");
            let Body::Response(Response::Message(message)) = envelope.body else {
                panic!("{envelope:?}");
            };
            answers.push(message.content.as_i64().unwrap());
        }
        answers.sort_unstable();
        assert_eq!(answers, (0..20).collect::<Vec<_>>());
        server.serves_others().await;
    }
}

#[tokio::test]
async fn connections_that_end_at_every_point_of_a_frame() {
    for server in TestServer::on_each_carrier().await {
        let frame = process_frame("7", Message::user("x"));
        for len in 0..=frame.len() {
            let mut peer = server.peer().await;
            peer.send(&frame[..len]).await;
            drop(peer);
        }
        server.serves_others().await;
    }
}

#[tokio::test]
async fn garbage_is_answered_or_ends_its_connection() {
    for server in TestServer::on_each_carrier().await {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..200 {
            let mut peer = server.peer().await;
            let len = random.usize(..200);
            let payload: Vec<u8> = (0..len).map(|_| random.u8(..)).collect();
            if random.bool() {
                peer.send_frame(&payload).await;
                let answer = peer.receive_payload().await;
                assert!(!answer.is_empty());
            } else {
                // Without a header: most payloads then announce a frame over the limit.
                let _ = peer.connection.write_all(&payload).await;
            }
        }
        server.serves_others().await;
    }
}

#[tokio::test]
async fn a_peer_that_disconnects_while_its_requests_are_in_flight() {
    for server in TestServer::on_each_carrier().await {
        for _ in 0..20 {
            let mut peer = server.peer().await;
            for id in ["a", "b", "c", "d", "beyond the limit"] {
                let hang = Message::user("x").with_metadata("do", "hang");
                peer.send(&process_frame(id, hang)).await;
            }
        }
        server.serves_others().await;
        // None of the requests is in flight any more, so stopping takes no time.
        within(server.agent.stop()).await;
    }
}

#[tokio::test]
async fn a_server_that_sends_unrequested_answers() {
    let (endpoint, mut listener) = listen("pushy").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let first = call(&remote, "x");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.answer(&"nobody".into(), "unasked").await;
    peer.answer(&id, "asked").await;
    // A second answer must not be taken for that of the next call.
    peer.answer(&id, "again").await;
    assert_eq!(within(first).await.unwrap().unwrap().text(), Some("asked"));

    let second = call(&remote, "y");
    let (mut next, id) = RawPeer::asked(&mut listener).await;
    next.answer(&id, "own").await;
    assert_eq!(within(second).await.unwrap().unwrap().text(), Some("own"));
    peer.receive_end().await;
}

#[tokio::test]
async fn chunks_after_the_end_of_a_stream() {
    let (endpoint, mut listener) = listen("endless").await;
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let mut stream = remote.stream(Message::user("x"));
    let first = tokio::spawn(async move {
        let item = stream.next().await;
        (item, stream)
    });
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    for payload in [
        r#"{"version": "1.0", "type": "stream_chunk", "id": "ID", "payload": {"message": {"role": "agent", "content": 1}}}"#,
        r#"{"version": "1.0", "type": "stream_end", "id": "ID", "payload": {}}"#,
        r#"{"version": "1.0", "type": "stream_chunk", "id": "ID", "payload": {"message": {"role": "agent", "content": 2}}}"#,
    ] {
        peer.send_frame(payload.replace("ID", &id.to_string()).as_bytes())
            .await;
    }
    let (item, mut stream) = within(first).await.unwrap();
    assert_eq!(item.unwrap().unwrap().content.as_i64(), Some(1));
    assert!(within(stream.next()).await.is_none());
    assert!(within(stream.next()).await.is_none());
    // The connection is not used again.
    let second = call(&remote, "y");
    let (mut next, id) = RawPeer::asked(&mut listener).await;
    next.answer(&id, "own").await;
    assert_eq!(within(second).await.unwrap().unwrap().text(), Some("own"));
    until("the first connection is closed", || {
        remote.stats().open == 1
    })
    .await;
}
