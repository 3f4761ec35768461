//! Peers that send too much, too little, too slowly, or something else.

use std::time::Duration;

use agentwire::{FrameLimits, LocalAgent, LocalAgentBuilder};
use tokio::{task::yield_now, time::timeout};

use crate::{
    common::{ScriptedAgent, within},
    peer::{Peer, message},
};

async fn serve(build: impl FnOnce(LocalAgentBuilder) -> LocalAgentBuilder) -> LocalAgent {
    let builder = build(LocalAgent::builder(ScriptedAgent)).endpoint("http://127.0.0.1:0");
    within(builder.serve()).await.unwrap()
}

async fn is_served(server: &LocalAgent) {
    let mut peer = Peer::connect(server.endpoint()).await;
    assert_eq!(peer.ask("/process", &message("")).await.status, 200);
}

#[tokio::test]
async fn bytes_that_are_not_http_are_refused() {
    let server = serve(|builder| builder).await;
    for bytes in [
        &b"\0\0\0\x10{\"version\": \"1.0\""[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /process HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /process HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x01\x00\x00\x00\x00\x00",
        b"\x16\x03\x01\x02\x00",
    ] {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(bytes).await;
        let rest = peer.rest().await;
        let is_answer = rest.starts_with(b"HTTP/1.1 400 ") || rest.starts_with(b"\0\0");
        assert!(rest.is_empty() || is_answer, "{}", rest.escape_ascii());
    }
    is_served(&server).await;
}

#[tokio::test]
async fn headers_over_the_limit_are_refused() {
    let server = serve(|builder| builder).await;
    let long = format!("GET /live HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many = format!("GET /live HTTP/1.1\r\n{}\r\n", "A: x\r\n".repeat(200));
    let uri = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70 * 1024));
    for (head, status) in [(long, 431), (many, 431), (uri, 414)] {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(head).await;
        let rest = peer.rest().await;
        let rest = String::from_utf8_lossy(&rest);
        let refused = rest.starts_with(&format!("HTTP/1.1 {status} ")) || rest.is_empty();
        assert!(refused || rest.starts_with("HTTP/1.1 431 "), "{rest}");
    }
    is_served(&server).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = serve(|builder| builder.frame_limits(FrameLimits::default().receive(1000))).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    peer.send("POST /process HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        .await;
    let reply = peer.reply().await;
    assert_eq!((reply.status, &*reply.code()), (413, "MALFORMED_PAYLOAD"));
    assert_eq!(reply.header("connection"), Some("close"));
    // In chunks, the length is not known before.
    let mut peer = Peer::connect(server.endpoint()).await;
    let chunk = "x".repeat(600);
    peer.send("POST /process HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..2 {
        peer.send(format!("258\r\n{chunk}\r\n")).await;
    }
    assert_eq!(peer.reply().await.status, 413);
    is_served(&server).await;
}

#[tokio::test]
async fn headers_that_trickle_are_cut() {
    let server = serve(|builder| builder.handshake_timeout(Duration::from_millis(50))).await;
    for start in ["G", "GET /live HTTP/1.1\r\nA: x"] {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(start).await;
        assert_eq!(peer.rest().await, b"");
    }
    // The same after a request.
    let mut peer = Peer::connect(server.endpoint()).await;
    peer.get("GET", "/live", "").await;
    peer.send("GET").await;
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_refused() {
    let server = serve(|builder| builder.frame_timeout(Duration::from_millis(50))).await;
    for body in ["", "{\"id\""] {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(format!(
            "POST /process HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{body}"
        ))
        .await;
        let reply = peer.reply().await;
        assert_eq!((reply.status, &*reply.code()), (408, "MALFORMED_PAYLOAD"));
        assert_eq!(reply.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let server = serve(|builder| builder.idle_timeout(Duration::from_millis(50))).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    assert_eq!(peer.rest().await, b"");
    let mut peer = Peer::connect(server.endpoint()).await;
    peer.get("GET", "/live", "").await;
    assert_eq!(peer.rest().await, b"");
}

#[tokio::test]
async fn at_the_limit_a_quiet_connection_makes_room_and_work_is_kept() {
    let server = serve(|builder| builder.max_connections(2)).await;
    let mut busy = Peer::connect(server.endpoint()).await;
    busy.post("/process", "", &message(r#""do": "hang""#)).await;
    let mut quiet = Peer::connect(server.endpoint()).await;
    quiet.get("GET", "/live", "").await;
    for _ in 0..3 {
        is_served(&server).await;
        yield_now().await;
    }
    assert_eq!(quiet.rest().await, b"");
}

#[tokio::test]
async fn large_bodies_of_many_connections_stay_within_the_budget() {
    let mib = 1024 * 1024;
    let server = serve(|builder| builder.memory_budget(8 * mib)).await;
    let post = async |body: &str| {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(format!(
            "POST /process HTTP/1.1\r\nHost: a\r\nContent-Length: {mib}\r\n\r\n{body}"
        ))
        .await;
        peer
    };
    // The bytes of incomplete bodies may hold a quarter of the budget.
    let mut holders = Vec::new();
    for _ in 0..2 {
        holders.push(post("{").await);
        // The server has read the request when it answers a later one.
        is_served(&server).await;
    }
    let mut whole = message("").replace(
        r#""payload": {"#,
        r#""version": "1.0", "type": "request", "payload": {"method": "process", "#,
    );
    whole.push_str(&" ".repeat(mib - whole.len()));
    let mut waiting = post(&whole).await;
    let mut answered = tokio::spawn(async move { waiting.reply().await });
    for _ in 0..10 {
        is_served(&server).await;
    }
    let early = timeout(Duration::from_millis(50), &mut answered).await;
    assert!(early.is_err(), "{early:?}");
    drop(holders.pop());
    assert_eq!(within(answered).await.unwrap().status, 200);
}

#[tokio::test]
async fn requests_that_end_in_the_middle_leave_nothing_behind() {
    let server = serve(|builder| builder.max_connections(4)).await;
    let body = message("");
    let len = body.len();
    let whole = format!("POST /process HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}");
    // Each connection is closed after a part of the request. The limit of connections would be
    // reached if the server kept them.
    for end in (1..whole.len()).step_by(7) {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(&whole[..end]).await;
        drop(peer);
    }
    let chunked = "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{";
    for end in (1..chunked.len()).step_by(11) {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(&chunked[..end]).await;
        drop(peer);
    }
    is_served(&server).await;
}

#[tokio::test]
async fn chunks_that_lie_are_refused() {
    let server = serve(|builder| builder).await;
    let head = "POST /process HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunk in [
        "x\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
        "1\r\n{{{{\r\n0\r\n\r\n",
    ] {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.send(format!("{head}{chunk}")).await;
        let rest = peer.rest().await;
        assert!(
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "),
            "{chunk:?}"
        );
    }
    is_served(&server).await;
}
