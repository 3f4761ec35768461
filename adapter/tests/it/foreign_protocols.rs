//! Peers that speak another protocol are named, at both ends.

use crate::common::{RawPeer, ScriptedAgent, call, listen, memory, shared, within};
use agentwire::{Error, LocalAgent, Message, RemoteAgent, RetryPolicy};
use tokio::io::AsyncReadExt;

/// What a server of another protocol answers or greets with, and how it is named.
const SERVERS: [(&[u8], &str); 5] = [
    (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "HTTP",
    ),
    (b"\x15\x03\x03\x00\x02\x02\x46", "TLS"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
    (b"{\"version\": \"1.0\"}\n", "JSON without lengths"),
    (b"220 mail.example ESMTP\r\n", "plain text"),
];

#[tokio::test]
async fn a_client_names_the_protocol_of_its_server() {
    for (answer, name) in SERVERS {
        let (endpoint, mut listener) = listen("foreign").await;
        let exclusive = RemoteAgent::builder(&endpoint).retry(RetryPolicy::new().resend(3));
        for remote in [
            exclusive.build().unwrap(),
            shared(&endpoint).build().unwrap(),
        ] {
            let called = call(&remote, "x");
            let (mut peer, _) = RawPeer::asked(&mut listener).await;
            peer.send(answer).await;
            let error = within(called).await.unwrap().unwrap_err();
            assert!(matches!(error, Error::MalformedPayload { .. }), "{error:?}");
            let text = format!("{error:#}");
            let expected = format!("peer sent {name} and not agentwire frames");
            assert!(text.contains(&expected), "{text}");
            assert!(!text.contains("raise the frame limit"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_server_answers_an_http_request_in_http() {
    let endpoint = memory("foreign-http");
    let _server = LocalAgent::serve(ScriptedAgent, &endpoint).await.unwrap();
    for request in ["GET / HTTP/1.1\r\n\r\n", "POST /call HTTP/1.1\r\n\r\n{}"] {
        let mut peer = RawPeer::connect(&endpoint).await;
        peer.send(request.as_bytes()).await;
        let mut answer = String::new();
        within(peer.connection.read_to_string(&mut answer))
            .await
            .unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert!(
            head.contains(&format!("Content-Length: {}\r\n", body.len())),
            "{head}"
        );
        assert!(body.contains("agentwire"), "{body}");
    }
}

#[tokio::test]
async fn a_server_answers_other_protocols_with_an_error_that_names_them() {
    let endpoint = memory("foreign-other");
    let _server = LocalAgent::serve(ScriptedAgent, &endpoint).await.unwrap();
    for (start, name) in &SERVERS[1..] {
        let mut peer = RawPeer::connect(&endpoint).await;
        peer.send(start).await;
        let (code, text, id) = crate::common::error_of(&peer.receive().await);
        assert_eq!((&code[..], &id[..]), ("MALFORMED_PAYLOAD", "unknown"));
        assert!(
            text.ends_with(&format!("; the bytes look like {name}")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn after_a_frame_the_bytes_of_an_http_request_are_a_length() {
    let endpoint = memory("foreign-late");
    let server = LocalAgent::serve(ScriptedAgent, &endpoint).await.unwrap();
    let mut peer = RawPeer::connect(server.endpoint()).await;
    peer.send_frame(b"{}").await;
    peer.receive().await;
    peer.send(b"POST").await;
    let (code, _, _) = crate::common::error_of(&peer.receive().await);
    assert_eq!(code, "MALFORMED_PAYLOAD");
    let honest = RemoteAgent::new(&endpoint).unwrap();
    assert!(within(honest.process(Message::user("x"))).await.is_ok());
}
