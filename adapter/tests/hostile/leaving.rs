//! A peer that closes its sending half gets its answers, and a peer that leaves is noticed.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
};

use agentwire::{Endpoint, LocalAgent, Message, agent_fn};
use agentwire_codec::Body;
use futures_util::poll;
use tokio::{io::AsyncWriteExt, sync::Semaphore, task::yield_now};

use crate::common::{RawPeer, memory, process_frame, until, within};

/// A server whose agent works until the test lets it answer, and counts its work.
struct Gate {
    server: LocalAgent,
    begun: Arc<AtomicUsize>,
    /// Falls when work ends, whether it is finished or dropped.
    running: Arc<AtomicUsize>,
    leave: Arc<Semaphore>,
    _directory: tempfile::TempDir,
}

/// Ends the count of one running request.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Gate {
    async fn serve(carrier: &str, half_close: bool, max_in_flight: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (begun, running) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let leave = Arc::new(Semaphore::new(0));
        let agent = {
            let (begun, running) = (Arc::clone(&begun), Arc::clone(&running));
            let leave = Arc::clone(&leave);
            agent_fn("gate", move |message: Message| {
                begun.fetch_add(1, SeqCst);
                running.fetch_add(1, SeqCst);
                let (running, leave) = (Running(Arc::clone(&running)), Arc::clone(&leave));
                async move {
                    if message.text() == Some("wait") {
                        leave.acquire().await?.forget();
                    }
                    drop(running);
                    Ok(message)
                }
            })
        };
        let endpoint = match carrier {
            "unix" => Endpoint::unix(directory.path().join("agent.sock")).unwrap(),
            "tcp" => "tcp://127.0.0.1:0".parse().unwrap(),
            _ => memory("leaving"),
        };
        let builder = LocalAgent::builder(agent)
            .half_close(half_close)
            .max_in_flight_per_connection(max_in_flight);
        let server = within(builder.endpoint(endpoint).serve()).await.unwrap();
        Self {
            server,
            begun,
            running,
            leave,
            _directory: directory,
        }
    }

    async fn peer(&self) -> RawPeer {
        RawPeer::connect(self.server.endpoint()).await
    }
}

#[tokio::test]
async fn a_peer_that_closes_its_sending_half_gets_the_answers_to_its_requests_in_flight() {
    // Over TCP only if the server is told so.
    for (carrier, half_close) in [("unix", false), ("memory", false), ("tcp", true)] {
        // With a limit of 4, most requests have not begun when the end arrives.
        for max_in_flight in [64, 4] {
            let gate = Gate::serve(carrier, half_close, max_in_flight).await;
            let mut peer = gate.peer().await;
            for number in 0..REQUESTS {
                let id = number.to_string();
                peer.send(&process_frame(&id, Message::user("wait"))).await;
            }
            within(peer.connection.shutdown()).await.unwrap();
            let begun = REQUESTS.min(max_in_flight);
            until("requests are in flight", || {
                gate.begun.load(SeqCst) == begun
            })
            .await;
            for _ in 0..YIELDS {
                yield_now().await;
            }
            gate.leave.add_permits(REQUESTS);
            for _ in 0..REQUESTS {
                let answer = peer.receive().await;
                assert!(matches!(answer.body, Body::Response(_)), "{answer:?}");
            }
            peer.receive_end().await;
        }
    }
}

#[tokio::test]
async fn a_tcp_peer_that_closes_its_sending_half_gets_the_answers_that_are_ready() {
    let gate = Gate::serve("tcp", false, 64).await;
    let mut peer = gate.peer().await;
    peer.send(&process_frame("slow", Message::user("wait")))
        .await;
    let text = "x".repeat(40_000);
    let requests = process_frame("quick", Message::user(text)).repeat(REQUESTS);
    // A writer of its own, because the server does not read while its answers are not read.
    let (mut reader, mut writer) = tokio::io::split(peer.connection);
    let written = tokio::spawn(async move {
        writer.write_all(&requests).await.unwrap();
        writer.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    within(tokio::io::AsyncReadExt::read_to_end(
        &mut reader,
        &mut received,
    ))
    .await
    .unwrap();
    within(written).await.unwrap();
    let answers = received
        .windows(12)
        .filter(|part| part == br#""type": "res"#);
    assert_eq!(answers.count(), REQUESTS);
    assert_eq!(gate.running.load(SeqCst), 0, "the slow request is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_leaves_is_noticed_however_much_it_has_sent() {
    for (carrier, half_close) in [("unix", false), ("memory", false), ("tcp", false)] {
        let gate = Gate::serve(carrier, half_close, 1).await;
        let mut peer = gate.peer().await;
        peer.send(&process_frame("waits", Message::user("wait")))
            .await;
        until("the request is in flight", || {
            gate.running.load(SeqCst) == 1
        })
        .await;
        // More than the server reads ahead. TCP shows the end only if the bytes ahead of it fit
        // into the buffers of the system.
        let request = process_frame("behind", Message::user("x".repeat(1_000)));
        let most = if carrier == "tcp" { 100 } else { 10_000 };
        for _ in 0..most {
            if without_waiting(peer.connection.write_all(&request))
                .await
                .is_none()
            {
                break;
            }
        }
        drop(peer);
        within(async {
            while gate.running.load(SeqCst) > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_half_closes_and_leaves_later_is_noticed() {
    for carrier in ["unix", "memory"] {
        let gate = Gate::serve(carrier, false, 64).await;
        let mut peer = gate.peer().await;
        peer.send(&process_frame("waits", Message::user("wait")))
            .await;
        within(peer.connection.shutdown()).await.unwrap();
        until("the request is in flight", || {
            gate.running.load(SeqCst) == 1
        })
        .await;
        tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
        assert_eq!(gate.running.load(SeqCst), 1);
        drop(peer);
        within(async {
            while gate.running.load(SeqCst) > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
        .await;
    }
}

/// The output of a future that is ready after other tasks have had many turns, with no need for
/// time to pass.
async fn without_waiting<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..YIELDS {
        if let Poll::Ready(output) = poll!(&mut future) {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

const REQUESTS: usize = 20;

/// How many turns other tasks get before the peer goes on.
const YIELDS: usize = 100;
