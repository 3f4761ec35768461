//! WebSocket on the port of HTTP.

use std::sync::Arc;

use agentwire::{
    Endpoint, Error, LocalAgent, LocalAgentBuilder, Message, RemoteAgent, RetryPolicy, agent_fn,
    http::HttpOptions, transport::WebSocketError,
};
use futures_util::StreamExt;
use tokio::sync::Notify;

use crate::{
    common::{ScriptedAgent, within},
    peer::{Peer, message},
};

async fn serve(builder: LocalAgentBuilder, path: &str) -> LocalAgent {
    let builder = builder.endpoint(format!("http://127.0.0.1:0{path}"));
    within(builder.serve()).await.unwrap()
}

fn websocket(endpoint: &Endpoint, path: &str) -> RemoteAgent {
    let (host, port) = endpoint.host_and_port().unwrap();
    let builder = RemoteAgent::builder(format!("ws://{host}:{port}{path}"));
    builder.retry(RetryPolicy::never()).build().unwrap()
}

const HANDSHAKE: &str = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Returns a masked binary message of a client.
fn masked(payload: &str) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap();
    let mut message = vec![0x82, 0xfe];
    message.extend(len.to_be_bytes());
    // A mask of zeros leaves the payload as it is.
    message.extend([0; 4]);
    message.extend(payload.bytes());
    message
}

/// Reads the start of an unmasked message, and returns its first byte and its payload.
async fn receive(peer: &mut Peer) -> (u8, Vec<u8>) {
    let head = peer.exactly(2).await;
    let len = match head[1] {
        126 => {
            let len = peer.exactly(2).await;
            usize::from(u16::from_be_bytes([len[0], len[1]]))
        }
        len => usize::from(len),
    };
    (head[0], peer.exactly(len).await)
}

#[tokio::test]
async fn one_port_serves_calls_over_http_and_over_websocket() {
    let server = serve(LocalAgent::builder(ScriptedAgent), "").await;
    let mut peer = Peer::connect(server.endpoint()).await;
    for path in ["", "/ws", "/process", "/any/path?and=query"] {
        let remote = websocket(server.endpoint(), path);
        for _ in 0..2 {
            let reply = within(remote.process(Message::user("h\u{e9}"))).await;
            assert_eq!(reply.unwrap().text(), Some("h\u{e9}"));
            let chunks = remote.stream(Message::user("x")).collect::<Vec<_>>();
            assert_eq!(within(chunks).await.len(), 3);
        }
        assert_eq!(remote.stats().open, 1, "{path}");
        assert_eq!(peer.ask("/process", &message("")).await.status, 200);
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn a_websocket_is_opened_only_below_the_prefix() {
    let server = serve(LocalAgent::builder(ScriptedAgent), "/agents/a").await;
    for path in ["/agents/a", "/agents/a/ws"] {
        let remote = websocket(server.endpoint(), path);
        within(remote.process(Message::user("x"))).await.unwrap();
    }
    let remote = websocket(server.endpoint(), "/agents/b");
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(error.is_connect() && !error.was_sent(), "{error:?}");
    let Error::ConnectionFailed { source, .. } = &error else {
        panic!("{error:?}");
    };
    let is_404 = matches!(
        source.websocket(),
        Some(WebSocketError::Refused { status: 404, body, .. }) if body == "404: Not Found"
    );
    assert!(is_404, "{error:?}");
}

#[tokio::test]
async fn handshakes_are_checked_and_refused_in_http() {
    let options = HttpOptions::new().allowed_origin("https://a.example");
    let builder = LocalAgent::builder(ScriptedAgent).http_options(options);
    let server = serve(builder, "").await;
    let mut peer = Peer::connect(server.endpoint()).await;
    for (change, to, status) in [
        ("Version: 13", "Version: 8", 426),
        ("Key: dGhl", "Key: ", 400),
        ("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: !", 400),
        (
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\r\nOrigin: https://b.example\r\n",
            403,
        ),
        // Not a handshake at all.
        ("Connection: keep-alive, Upgrade\r\n", "", 404),
        ("Upgrade: websocket", "Upgrade: h2c", 404),
    ] {
        let headers = HANDSHAKE.replacen(change, to, 1);
        assert_ne!(headers, HANDSHAKE);
        // The connection stays usable.
        let reply = peer.get("GET", "/ws", &headers).await;
        assert_eq!(reply.status, status, "{headers}");
    }
    let allowed = format!("{HANDSHAKE}Origin: https://a.example\r\n");
    let reply = peer.get("GET", "/ws", &allowed).await;
    assert_eq!(reply.status, 101);
    let accept = reply.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
}

#[tokio::test]
async fn messages_in_one_write_with_the_handshake_are_answered() {
    let server = serve(LocalAgent::builder(ScriptedAgent), "").await;
    let mut peer = Peer::connect(server.endpoint()).await;
    let envelope = message("").replacen(
        r#""payload": {"#,
        r#""version": "1.0", "type": "request", "payload": {"method": "process", "#,
        1,
    );
    let mut bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}\r\n").into_bytes();
    bytes.extend(masked(&envelope));
    bytes.extend(masked(&envelope));
    peer.send(bytes).await;
    assert_eq!(peer.head().await.status, 101);
    for _ in 0..2 {
        let (first, payload) = receive(&mut peer).await;
        assert_eq!(first, 0x82);
        let text = String::from_utf8(payload).unwrap();
        assert!(text.contains(r#""type": "response", "id": "7""#), "{text}");
    }
    // An unmasked message is a fault with its own close code.
    peer.send([0x82, 0x01, 0x7b]).await;
    let (first, payload) = receive(&mut peer).await;
    assert_eq!((first, &payload[..2]), (0x88, &1002_u16.to_be_bytes()[..]));
}

#[tokio::test]
async fn a_websocket_of_a_stopping_server_is_answered_and_then_closed() {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let agent = agent_fn("gate", {
        let (started, go) = (Arc::clone(&started), Arc::clone(&go));
        move |message: Message| {
            let (started, go) = (Arc::clone(&started), Arc::clone(&go));
            async move {
                started.notify_one();
                go.notified().await;
                Ok(message)
            }
        }
    });
    let server = Arc::new(serve(LocalAgent::builder(agent), "").await);
    let mut quiet = Peer::connect(server.endpoint()).await;
    let handshake = format!("GET / HTTP/1.1\r\nHost: a\r\n{HANDSHAKE}\r\n");
    quiet.send(handshake).await;
    assert_eq!(quiet.head().await.status, 101);
    let remote = websocket(server.endpoint(), "/ws");
    let call = tokio::spawn({
        let remote = remote.clone();
        async move { remote.process(Message::user("late")).await }
    });
    within(started.notified()).await;
    let stopping = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.stop().await }
    });
    let (first, payload) = receive(&mut quiet).await;
    assert_eq!((first, &payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
    drop(quiet);
    go.notify_one();
    assert_eq!(within(call).await.unwrap().unwrap().text(), Some("late"));
    within(stopping).await.unwrap();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ConnectionFailed { .. }), "{error:?}");
}
