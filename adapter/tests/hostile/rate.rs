//! Peers that send or read slowly are judged by their progress.

use std::time::Duration;

use agentwire::{Endpoint, LocalAgent, Message, agent_fn};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

use crate::common::{RawPeer, memory, process_frame, within};

async fn serve(endpoint: &Endpoint) -> LocalAgent {
    let agent = agent_fn("echo", |message: Message| async move { Ok(message) });
    let builder = LocalAgent::builder(agent);
    within(builder.endpoint(endpoint).serve()).await.unwrap()
}

fn frame(size: usize) -> Vec<u8> {
    process_frame("1", Message::user("x".repeat(size))).to_vec()
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_makes_progress_may_take_longer_than_the_frame_timeout() {
    let endpoint = memory("upload");
    let _server = serve(&endpoint).await;
    let mut peer = RawPeer::connect(&endpoint).await;
    let start = Instant::now();
    for part in frame(SIZE).chunks(SLOW_RATE) {
        peer.send(part).await;
        sleep(SECOND).await;
    }
    assert!(start.elapsed() > TIMEOUT);
    // The frame is decoded on another thread, for which a paused clock does not wait.
    tokio::time::resume();
    assert!(peer.receive_payload().await.len() > SIZE);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_trickles_in_is_cut_after_the_frame_timeout() {
    let endpoint = memory("trickle");
    let _server = serve(&endpoint).await;
    let mut peer = RawPeer::connect(&endpoint).await;
    let start = Instant::now();
    for part in frame(SIZE).chunks(TRICKLE) {
        if peer.connection.write_all(part).await.is_err() {
            break;
        }
        sleep(SECOND).await;
    }
    assert!(start.elapsed() < 2 * TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_trickles_is_cut_after_the_write_timeout() {
    let endpoint = memory("reader");
    let _server = serve(&endpoint).await;
    let mut peer = RawPeer::connect(&endpoint).await;
    peer.send(&frame(SIZE)).await;
    let mut byte = [0];
    for _ in 0..2 * TIMEOUT.as_secs() {
        peer.connection.read_exact(&mut byte).await.unwrap();
        sleep(SECOND).await;
    }
    let mut rest = Vec::new();
    let _ = within(peer.connection.read_to_end(&mut rest)).await;
    assert!(rest.len() < SIZE / 2, "{} bytes were kept", rest.len());
}

const SIZE: usize = 6_000_000;
const SLOW_RATE: usize = 80_000;
const TRICKLE: usize = 1000;
const SECOND: Duration = Duration::from_secs(1);
/// The default of `frame_timeout` and `write_timeout`.
const TIMEOUT: Duration = Duration::from_secs(60);
