//! Hostile peers of an HTTP endpoint use no more memory than the budget of the server, and others
//! are served.

#![cfg(all(target_os = "linux", feature = "http"))]

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    common::within,
    memory::{BLOCKED_AFTER, HELD_BACK, MIB, Server, Sizes, check, max_growth, sizes},
};

/// A server in a process of its own, at an HTTP endpoint.
struct Door {
    server: Server,
    address: String,
}

impl Door {
    fn start(budget: usize) -> Self {
        let server = Server::start_at(budget, Some("http://127.0.0.1:0"));
        let address = server.endpoint().trim_start_matches("http://").to_owned();
        Self { server, address }
    }

    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(&self.address)).await.unwrap()
    }

    async fn connect_h2(
        &self,
    ) -> (
        h2::client::SendRequest<Bytes>,
        AbortOnDropHandle<Result<(), h2::Error>>,
    ) {
        let handshake = h2::client::handshake(self.connect().await);
        let (sender, connection) = within(handshake).await.unwrap();
        (sender, AbortOnDropHandle::new(tokio::spawn(connection)))
    }

    async fn check(&self, name: &str, bound: usize) {
        self.server.small_call().await;
        check(name, self.server.peak(), bound);
    }
}

/// Returns a body whose content is a list of about `len` bytes.
fn list_body(len: usize) -> String {
    let list = "0,".repeat(len / 2);
    let list = list.trim_end_matches(',');
    format!(
        r#"{{"version": "1.0", "type": "request", "id": "7", "payload": {{"method": "process", "message": {{"role": "user", "content": [{list}], "metadata": {{}}}}}}}}"#
    )
}

fn post(path: &str, len: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n")
}

fn small(content: &str) -> String {
    format!(
        r#"{{"payload": {{"message": {{"role": "user", "content": "{content}", "metadata": {{}}}}}}}}"#
    )
}

/// Writes until the server stops reading or closes the connection.
async fn write_until_blocked(peer: &mut TcpStream, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match timeout(BLOCKED_AFTER, peer.write(rest)).await {
            Ok(Ok(written)) => rest = &rest[written..],
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_whose_last_byte_is_held_back_stay_within_the_budget() {
    let Sizes { budget, frame } = sizes();
    let door = Door::start(budget);
    let body = list_body(frame);
    let whole = post("/process", body.len()) + &body;
    let chunked = format!(
        "POST /process HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}",
        body.len()
    );
    let mut peers = Vec::new();
    for _ in 0..HELD_BACK {
        peers.push(door.connect().await);
    }
    let writes = peers.iter_mut().enumerate().map(|(i, peer)| {
        let bytes = if i % 2 == 0 { &whole } else { &chunked };
        write_until_blocked(peer, &bytes.as_bytes()[..bytes.len() - 1])
    });
    join_all(writes).await;
    door.check("held-back bodies", max_growth(budget)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_bodies_with_many_values_stay_within_the_budget() {
    let Sizes { budget, frame } = sizes();
    let door = Door::start(budget);
    for len in [frame / 8, frame] {
        let body = list_body(len);
        let whole = post("/process", body.len()) + &body;
        let mut peers = Vec::new();
        for _ in 0..HELD_BACK {
            peers.push(door.connect().await);
        }
        join_all(
            peers
                .iter_mut()
                .map(|peer| write_until_blocked(peer, whole.as_bytes())),
        )
        .await;
        door.check("bodies of lists", max_growth(budget)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_one_connection_of_http2_stay_within_the_budget() {
    let Sizes { budget, frame } = sizes();
    let door = Door::start(budget);
    let body = Bytes::from(list_body(frame));
    let mut peers = Vec::new();
    for _ in 0..4 {
        let (mut sender, driver) = door.connect_h2().await;
        let mut bodies = Vec::new();
        for _ in 0..64 {
            sender = within(sender.ready()).await.unwrap();
            let request = http::Request::post("http://test/process").body(()).unwrap();
            let (answer, mut stream) = sender.send_request(request, false).unwrap();
            // The last byte is held back.
            stream
                .send_data(body.slice(..body.len() - 1), false)
                .unwrap();
            bodies.push((answer, stream));
        }
        peers.push((driver, bodies));
    }
    // The windows of HTTP/2 let the server take as much as it wants.
    tokio::time::sleep(BLOCKED_AFTER).await;
    door.check("streams of HTTP/2", max_growth(budget)).await;
    drop(peers);
    door.server.small_call().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_that_nobody_reads_stay_within_the_budget() {
    let Sizes { budget, .. } = sizes();
    let door = Door::start(budget);
    let body = small("large");
    let request = post("/process", body.len()) + &body;
    let mut peers = Vec::new();
    for _ in 0..HELD_BACK {
        let mut peer = door.connect().await;
        peer.write_all(request.as_bytes()).await.unwrap();
        peers.push(peer);
    }
    // Every answer has been encoded or refused once its first byte can be read.
    for peer in &mut peers {
        within(peer.read_u8()).await.unwrap();
    }
    door.check("unread answers", max_growth(budget)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_never_end_use_little_memory() {
    let Sizes { budget, .. } = sizes();
    let door = Door::start(budget);
    let head = format!("GET /live HTTP/1.1\r\nA: {}", "x".repeat(16 * 1024));
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = door.connect().await;
        peer.write_all(head.as_bytes()).await.unwrap();
        peers.push(peer);
    }
    door.check("endless heads", MAX_HEADS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_use_little_memory() {
    let Sizes { budget, .. } = sizes();
    let door = Door::start(budget);
    for _ in 0..20 {
        let (mut sender, driver) = door.connect_h2().await;
        for _ in 0..2000 {
            let Ok(ready) = within(sender.clone().ready()).await else {
                break;
            };
            sender = ready;
            let request = http::Request::post("http://test/process").body(()).unwrap();
            let Ok((_, mut stream)) = sender.send_request(request, false) else {
                break;
            };
            let _ = stream.send_data(Bytes::from(small("hang")), true);
            stream.send_reset(h2::Reason::CANCEL);
        }
        drop(sender);
        // The driver ends when the server has closed the connection, or all streams are closed.
        let _ = timeout(Duration::from_secs(20), driver).await;
    }
    door.check("rapid resets", MAX_RESETS).await;
}

/// The most that 200 heads of 16 KiB may use.
const MAX_HEADS: usize = 24 * MIB;

/// The most that resets may use.
const MAX_RESETS: usize = 16 * MIB;
