//! Peers that hold connections without sending a request that the server accepts.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire::{Endpoint, LocalAgent, Message, RemoteAgent, agent_fn};
use agentwire_codec::Body;
use futures_util::FutureExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink, split},
    time::Instant,
};
use tracing::Level;

use crate::common::{RawPeer, logged, memory, process_frame, within};

async fn serve(endpoint: &Endpoint, connections: usize) -> LocalAgent {
    let agent = agent_fn("echo", |message: Message| async move {
        if message.text() == Some("never") {
            std::future::pending::<()>().await;
        }
        Ok(message)
    });
    let builder = LocalAgent::builder(agent).max_connections(connections);
    within(builder.endpoint(endpoint).serve()).await.unwrap()
}

async fn beat(peer: &mut RawPeer) {
    peer.send_frame(HEARTBEAT).await;
    assert!(matches!(peer.receive().await.body, Body::Error(_)));
}

#[test]
fn honest_calls_are_answered_beside_peers_that_only_send_heartbeats() {
    let lines = logged(async {
        let endpoint = memory("heartbeats");
        let server = serve(&endpoint, CONNECTIONS).await;
        let mut peers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut peer = RawPeer::connect(&endpoint).await;
            beat(&mut peer).await;
            peers.push(peer);
        }
        for _ in 0..HONEST_CALLS {
            let remote = RemoteAgent::new(&endpoint).unwrap();
            within(remote.process(Message::user("x"))).await.unwrap();
        }
        within(server.stop()).await;
    });
    let at_limit = |(level, text): &&(Level, String)| {
        *level == Level::WARN && text.contains("limit of connections reached")
    };
    assert_eq!(lines.iter().filter(at_limit).count(), 1);
}

#[tokio::test]
async fn the_connection_without_an_accepted_request_is_closed_and_work_is_kept() {
    let endpoint = memory("evicted");
    let _server = serve(&endpoint, 3).await;
    let mut working = RawPeer::connect(&endpoint).await;
    working
        .send(&process_frame("1", Message::user("never")))
        .await;
    beat(&mut working).await;
    let mut refused = RawPeer::connect(&endpoint).await;
    beat(&mut refused).await;
    let mut served = RawPeer::connect(&endpoint).await;
    served.send(&process_frame("2", Message::user("x"))).await;
    served.receive().await;
    // The refused request is the latest one, and still does not count.
    beat(&mut refused).await;
    let mut newcomer = RawPeer::connect(&endpoint).await;
    beat(&mut newcomer).await;
    refused.receive_end().await;
    for peer in [&mut served, &mut newcomer] {
        beat(peer).await;
    }
    let mut byte = [0];
    let end = tokio::time::timeout(Duration::from_millis(1), working.connection.read(&mut byte));
    assert!(end.await.is_err(), "a connection with work is kept");
}

#[tokio::test]
async fn a_peer_over_its_share_replaces_its_own_connection_or_is_refused() {
    let endpoint = Endpoint::from_str("tcp://127.0.0.1:0").unwrap();
    let agent = agent_fn("echo", |message: Message| async move {
        if message.text() == Some("never") {
            std::future::pending::<()>().await;
        }
        Ok(message)
    });
    let builder = LocalAgent::builder(agent).max_connections_per_peer(2);
    let server = within(builder.endpoint(endpoint).serve()).await.unwrap();
    let endpoint = server.endpoint().clone();
    let mut working = RawPeer::connect(&endpoint).await;
    working
        .send(&process_frame("1", Message::user("never")))
        .await;
    beat(&mut working).await;
    let mut idle = RawPeer::connect(&endpoint).await;
    beat(&mut idle).await;
    let mut newcomer = RawPeer::connect(&endpoint).await;
    newcomer
        .send(&process_frame("2", Message::user("never")))
        .await;
    idle.receive_end().await;
    // The answer shows that the request has been started: both connections have work.
    beat(&mut newcomer).await;
    let mut refused = RawPeer::connect(&endpoint).await;
    refused.receive_end().await;
    beat(&mut newcomer).await;
}

#[tokio::test]
async fn a_connection_at_its_limit_of_requests_in_flight_is_not_read() {
    let endpoint = memory("in-flight");
    let begun = Arc::<AtomicUsize>::default();
    let agent = {
        let begun = Arc::clone(&begun);
        agent_fn("never", move |_: Message| {
            begun.fetch_add(1, SeqCst);
            std::future::pending()
        })
    };
    let builder = LocalAgent::builder(agent).max_in_flight_per_connection(IN_FLIGHT);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    let request = process_frame("1", Message::user("x".repeat(1000)));
    // The peer writes until its bytes are not read any more.
    let mut sent = 0;
    while let Some(Ok(())) = peer.connection.write_all(&request).now_or_never() {
        sent += 1;
        tokio::task::yield_now().await;
        assert!(sent < 10_000, "{sent} requests were read");
    }
    assert!(sent > IN_FLIGHT);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(begun.load(SeqCst), IN_FLIGHT);
}

#[tokio::test(start_paused = true)]
async fn refused_requests_do_not_extend_the_idle_timeout() {
    let endpoint = memory("refused-is-idle");
    let _server = serve(&endpoint, 3).await;
    let mut peer = RawPeer::connect(&endpoint).await;
    for _ in 0..9 {
        beat(&mut peer).await;
        tokio::time::sleep(MINUTE).await;
    }
    beat(&mut peer).await;
    tokio::time::sleep(2 * MINUTE).await;
    peer.receive_end().await;
}

/// Sends a frame without a pause, and reads the answers, for 20 minutes of a paused clock. Returns
/// whether the connection ended before.
fn flood(peer: RawPeer, frame: &[u8]) -> tokio::task::JoinHandle<bool> {
    let frames = frame.repeat(FLOOD);
    let (mut reader, mut writer) = split(peer.connection);
    tokio::spawn(async move {
        let mut sink = sink();
        let read = copy(&mut reader, &mut sink);
        let write = async {
            for _ in 0..20 * 60 {
                if writer.write_all(&frames).await.is_err() {
                    return true;
                }
                tokio::time::advance(MINUTE / 60).await;
            }
            false
        };
        tokio::select! {
            _ = read => true,
            has_ended = write => has_ended,
        }
    })
}

fn heartbeat() -> Vec<u8> {
    let len = u32::try_from(HEARTBEAT.len()).unwrap();
    [&len.to_be_bytes(), HEARTBEAT].concat()
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_refused_requests_gives_way_and_ends_with_the_idle_timeout() {
    let endpoint = memory("flood-evicted");
    let _server = serve(&endpoint, 1).await;
    let mut peer = RawPeer::connect(&endpoint).await;
    beat(&mut peer).await;
    let flooding = flood(peer, &heartbeat());
    let mut newcomer = RawPeer::connect(&endpoint).await;
    newcomer.send_frame(HEARTBEAT).await;
    assert!(flooding.await.unwrap());
    newcomer.receive_within(MINUTE).await;
    // Nobody asks for the place of this flood.
    let start = Instant::now();
    assert!(flood(newcomer, &heartbeat()).await.unwrap());
    assert!(start.elapsed() >= 9 * MINUTE, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_accepted_requests_does_not_delay_a_stop() {
    let endpoint = memory("flood-stopped");
    let server = serve(&endpoint, 1).await;
    let mut peer = RawPeer::connect(&endpoint).await;
    beat(&mut peer).await;
    let flooding = flood(peer, &process_frame("1", Message::user("x")));
    tokio::task::yield_now().await;
    let start = Instant::now();
    server.stop().await;
    // A graceful stop may take 30 seconds.
    assert!(start.elapsed() < MINUTE / 6, "{:?}", start.elapsed());
    assert!(flooding.await.unwrap());
}

/// How many frames a flood writes at once. Most of them have not been read when they are written,
/// and more than a session reads in a turn.
const FLOOD: usize = 500;
const CONNECTIONS: usize = 1024;
const IN_FLIGHT: usize = 4;
const HONEST_CALLS: usize = 100;
const MINUTE: Duration = Duration::from_secs(60);
const HEARTBEAT: &[u8] = br#"{"id": "1", "type": "heartbeat", "payload": {}}"#;
