//! A peer that sends without a pause blocks neither other tasks nor earlier requests.

#![cfg(unix)]
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use crate::common::{RawPeer, process_frame, within};
use agentwire::{Endpoint, LocalAgent, Message, agent_fn};
use agentwire_codec::Format;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink, split};

/// The most requests that a connection may start before other tasks run.
const TURN: usize = 128;

fn unix() -> (tempfile::TempDir, Endpoint) {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::unix(directory.path().join("agent.sock")).unwrap();
    (directory, endpoint)
}

#[tokio::test]
async fn other_tasks_run_while_requests_pour_in() {
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    let agent = agent_fn("counter", move |message: Message| {
        counter.fetch_add(1, SeqCst);
        async move { Ok(message) }
    });
    let (_directory, endpoint) = unix();
    let server = LocalAgent::serve(agent, endpoint).await.unwrap();
    let requests = process_frame("7", Message::user("x")).repeat(20 * TURN);
    let (mut reader, mut writer) = split(RawPeer::connect(server.endpoint()).await.connection);

    // All requests may arrive at once. Another task counts how many start between two of its polls.
    tokio::spawn(async move { copy(&mut reader, &mut sink()).await });
    let sent = tokio::spawn(async move { writer.write_all(&requests).await.map(|()| writer) });
    let (mut seen, mut most) = (0, 0);
    let other = tokio::spawn(poll_fn(move |cx| {
        let now = begun.load(SeqCst);
        most = most.max(now - seen);
        seen = now;
        if seen == 20 * TURN {
            return Poll::Ready(most);
        }
        // Queues this task after those that are ready. `yield_now` would wait until no task is
        // ready.
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    let most = within(other).await.unwrap();
    sent.await.unwrap().unwrap();
    assert!(most <= TURN, "{most} requests in one turn");
}

#[tokio::test]
async fn a_request_in_flight_goes_before_new_requests() {
    let agent = agent_fn("sometimes", |message: Message| async move {
        if message.text() == Some("wait") {
            for _ in 0..3 {
                // The request waits for another task.
                tokio::spawn(async {}).await.ok();
            }
        }
        Ok(message)
    });
    let (_directory, endpoint) = unix();
    let server = LocalAgent::serve(agent, endpoint).await.unwrap();
    let mut requests = process_frame("waits", Message::user("wait")).to_vec();
    requests.extend(process_frame("quick", Message::user("x")).repeat(20 * TURN));
    let (mut reader, mut writer) = split(RawPeer::connect(server.endpoint()).await.connection);

    let sent = tokio::spawn(async move { writer.write_all(&requests).await.map(|()| writer) });
    let before = within(async {
        for before in 0.. {
            let mut payload = vec![0; reader.read_u32().await.unwrap() as usize];
            reader.read_exact(&mut payload).await.unwrap();
            if Format::Json.decode(&payload).unwrap().id == "waits".into() {
                return before;
            }
        }
        usize::MAX
    })
    .await;
    assert!(before <= 4 * TURN, "{before} others were answered first");
    sent.abort();
}
