//! Frames for which the server has no memory are answered, and no agent has seen them.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire::{Error, LocalAgent, Message, RemoteAgent, RetryPolicy, agent_fn};
use agentwire_codec::{Body, Envelope, ErrorCode, Format, put_frame};
use tokio::time::{Instant, sleep};

use crate::common::{RawPeer, memory, process_frame, until, within};

/// A server whose memory is used up by requests that its agent does not finish.
struct FullServer {
    server: Arc<LocalAgent>,
    /// The number of requests that the agent has seen.
    seen: Arc<AtomicUsize>,
    /// The connections whose requests use the memory.
    holders: Vec<RawPeer>,
}

impl FullServer {
    async fn start(count: usize) -> Self {
        let seen = Arc::<AtomicUsize>::default();
        let agent = {
            let seen = Arc::clone(&seen);
            agent_fn("full", move |message: Message| {
                seen.fetch_add(1, SeqCst);
                async move {
                    if message.text().is_some_and(|text| text.len() == SMALL) {
                        pending::<()>().await;
                    }
                    Ok(message)
                }
            })
        };
        let server = LocalAgent::builder(agent)
            .endpoint(memory("starved"))
            .max_connections(MAX_CONNECTIONS)
            .memory_budget(BUDGET)
            .frame_timeout(FRAME_TIMEOUT);
        let server = Arc::new(within(server.serve()).await.unwrap());
        // Small requests leave too little memory for any large frame.
        let mut holders = Vec::new();
        let request = process_frame("held", Message::user("x".repeat(SMALL)));
        for _ in 0..count {
            let mut holder = RawPeer::connect(server.endpoint()).await;
            holder.send(&request.repeat(REQUESTS_PER_HOLDER)).await;
            holders.push(holder);
        }
        until("the requests are in flight", || {
            seen.load(SeqCst) == count * REQUESTS_PER_HOLDER
        })
        .await;
        Self {
            server,
            seen,
            holders,
        }
    }

    fn seen(&self) -> usize {
        self.seen.load(SeqCst) - self.holders.len() * REQUESTS_PER_HOLDER
    }
}

/// Returns the frame of a request that needs memory of the budget, in either format.
fn large_frame(format: Format, id: &str) -> Vec<u8> {
    let json = process_frame(id, Message::user("y".repeat(LARGE)));
    let envelope = Format::Json.decode(&json[4..]).unwrap();
    let mut frame = Vec::new();
    put_frame(&mut frame, usize::MAX, |buffer| {
        format.encode(&envelope, buffer)
    })
    .unwrap();
    frame
}

async fn receive(peer: &mut RawPeer) -> Envelope {
    let payload = peer.receive_payload().await;
    Format::detect(&payload).decode(&payload).unwrap()
}

fn assert_refused(answer: &Envelope, id: &str, reason: &str) {
    assert_eq!(answer.id, id.into(), "{answer:?}");
    let Body::Error(error) = &answer.body else {
        panic!("{answer:?}")
    };
    assert_eq!(error.code, ErrorCode::AGENT_UNAVAILABLE);
    assert_eq!(error.details["reason"], reason);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_waits_for_memory_is_refused_after_the_frame_timeout() {
    for format in [Format::Json, Format::MessagePack] {
        let full = FullServer::start(ONLY_DECODING_WAITS).await;
        let mut peer = RawPeer::connect(full.server.endpoint()).await;
        let start = Instant::now();
        peer.send(&large_frame(format, "large")).await;
        assert_refused(&receive(&mut peer).await, "large", "memory");
        let waited = start.elapsed();
        assert!(waited >= FRAME_TIMEOUT && waited < 2 * FRAME_TIMEOUT);
        assert_eq!(full.seen(), 0);
        // The connection stays usable.
        peer.send(&process_frame("small", Message::user("x"))).await;
        assert_eq!(receive(&mut peer).await.id, "small".into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_whose_rest_waits_for_memory_is_refused_with_its_id() {
    for format in [Format::Json, Format::MessagePack] {
        let full = FullServer::start(READING_WAITS).await;
        let mut peer = RawPeer::connect(full.server.endpoint()).await;
        let start = Instant::now();
        let frame = large_frame(format, "large");
        peer.send(&frame[..PART]).await;
        assert_refused(&receive(&mut peer).await, "large", "memory");
        let waited = start.elapsed();
        assert!(waited >= FRAME_TIMEOUT && waited < 2 * FRAME_TIMEOUT);
        assert_eq!(full.seen(), 0);
        // The rest of the frame is discarded, and the connection stays usable.
        let (rest, last) = frame[PART..].split_at(frame.len() - PART - 1);
        peer.send(rest).await;
        let mut last = last.to_vec();
        last.extend(process_frame("small", Message::user("x")));
        peer.send(&last).await;
        assert_eq!(receive(&mut peer).await.id, "small".into());
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_refused_frame_must_arrive_within_the_frame_timeout() {
    let full = FullServer::start(READING_WAITS).await;
    let mut peer = RawPeer::connect(full.server.endpoint()).await;
    peer.send(&large_frame(Format::Json, "large")[..PART]).await;
    assert_refused(&receive(&mut peer).await, "large", "memory");
    let start = Instant::now();
    peer.receive_end().await;
    assert!(start.elapsed() <= 2 * FRAME_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_request_behind_a_refused_frame_is_answered() {
    for holders in [ONLY_DECODING_WAITS, READING_WAITS] {
        let full = FullServer::start(holders).await;
        let [_, shared] = clients(&full, &RetryPolicy::never());
        let large = shared.process(Message::user("y".repeat(LARGE)));
        let small = async {
            // The large request is written first.
            sleep(FRAME_TIMEOUT / 2).await;
            shared.process(Message::user("x")).await
        };
        let (large, small) = within(async { tokio::join!(large, small) }).await;
        let error = large.unwrap_err();
        assert!(matches!(error, Error::AgentUnavailable { .. }), "{error}");
        assert_eq!(small.unwrap().text(), Some("x"));
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_wait_for_memory_are_answered_when_the_server_stops() {
    for holders in [ONLY_DECODING_WAITS, READING_WAITS] {
        for format in [Format::Json, Format::MessagePack] {
            let full = FullServer::start(holders).await;
            let mut peer = RawPeer::connect(full.server.endpoint()).await;
            let frame = large_frame(format, "large");
            let sent = if holders == READING_WAITS {
                &frame[..PART]
            } else {
                &frame[..]
            };
            peer.send(sent).await;
            // Less than the frame timeout.
            sleep(FRAME_TIMEOUT / 2).await;
            let start = Instant::now();
            let stop = tokio::spawn({
                let server = Arc::clone(&full.server);
                async move { within(server.stop()).await }
            });
            assert_refused(&receive(&mut peer).await, "large", "stopping");
            assert!(start.elapsed() < FRAME_TIMEOUT / 2);
            peer.receive_end().await;
            assert_eq!(full.seen(), 0);
            drop((peer, full.holders));
            within(stop).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_has_arrived_in_part_is_answered_when_the_server_stops() {
    for format in [Format::Json, Format::MessagePack] {
        let full = FullServer::start(0).await;
        let mut peer = RawPeer::connect(full.server.endpoint()).await;
        peer.send(&large_frame(format, "part")[..PART]).await;
        sleep(FRAME_TIMEOUT / 2).await;
        let stop = tokio::spawn({
            let server = Arc::clone(&full.server);
            async move { within(server.stop()).await }
        });
        assert_refused(&receive(&mut peer).await, "part", "stopping");
        peer.receive_end().await;
        drop(peer);
        within(stop).await.unwrap();
    }
}

/// Clients whose calls have their own connections, and clients whose calls share them.
fn clients(full: &FullServer, retry: &RetryPolicy) -> [RemoteAgent; 2] {
    [1, 8].map(|in_flight| {
        RemoteAgent::builder(full.server.endpoint())
            .max_connections(1)
            .max_in_flight_per_connection(in_flight)
            .retry(retry.clone())
            .build()
            .unwrap()
    })
}

#[tokio::test(start_paused = true)]
async fn a_client_repeats_a_request_for_which_there_was_no_memory() {
    for holders in [ONLY_DECODING_WAITS, READING_WAITS] {
        for kind in [0, 1] {
            let mut full = FullServer::start(holders).await;
            let remote = &clients(&full, &RetryPolicy::new())[kind];
            let call = tokio::spawn({
                let (remote, message) = (remote.clone(), Message::user("y".repeat(LARGE)));
                async move { remote.process(message).await }
            });
            // The first attempt is refused. The second one gets the memory.
            sleep(FRAME_TIMEOUT + FRAME_TIMEOUT / 2).await;
            assert_eq!(full.seen(), 0);
            let seen = full.seen.load(SeqCst);
            full.holders.clear();
            let reply = within(call).await.unwrap().unwrap();
            assert_eq!(reply.text().map(str::len), Some(LARGE));
            assert_eq!(full.seen.load(SeqCst), seen + 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_reads_the_refusal_before_the_server_closes_the_connection() {
    for holders in [ONLY_DECODING_WAITS, READING_WAITS] {
        for kind in [0, 1] {
            let full = FullServer::start(holders).await;
            let remote = &clients(&full, &RetryPolicy::never())[kind];
            let start = Instant::now();
            let call = remote.process(Message::user("y".repeat(LARGE)));
            let error = tokio::time::timeout(3 * FRAME_TIMEOUT, call).await;
            let error = error.unwrap().unwrap_err();
            let Error::AgentUnavailable { error: wire, .. } = &error else {
                panic!("{error}")
            };
            assert_eq!(wire.details["reason"], "memory");
            assert!(error.is_retryable() && !error.was_sent());
            // Every policy allows one retry.
            assert!(start.elapsed() >= 2 * FRAME_TIMEOUT);
            assert_eq!(full.seen(), 0);
        }
    }
}

/// The budget leaves 768 KiB to share, of which the bytes of frames may use 256 KiB.
const BUDGET: usize = 1024 * 1024;
const MAX_CONNECTIONS: usize = 8;
const FRAME_TIMEOUT: Duration = Duration::from_secs(9);

/// The size of the text in each request that uses memory, and the number of these requests.
const SMALL: usize = 50_000;
const REQUESTS_PER_HOLDER: usize = 7;

/// The size of the text in a large request. The whole frame must be received before it is decoded.
const LARGE: usize = 200_000;

/// More bytes than a server reads of a frame for which it has no memory.
const PART: usize = 80_000;

/// With this number of holders, a large frame is received, but there is no memory to decode it.
const ONLY_DECODING_WAITS: usize = 1;

/// With this number of holders, only the start of a large frame is read.
const READING_WAITS: usize = 2;
