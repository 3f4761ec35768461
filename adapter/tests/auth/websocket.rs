//! The credential in the handshake of a WebSocket.

use agentwire::{
    Error, LocalAgent, Message, Principal, RemoteAgent, WebSocketOptions,
    auth::{AuditKind, Security},
    transport::{Endpoint, WebSocketError, connect},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Events, serve, token, tokens};

/// Returns the endpoint of the WebSocket at a server of WebSocket or HTTP.
fn websocket(server: &LocalAgent) -> String {
    let (host, port) = server.endpoint().host_and_port().unwrap();
    format!("ws://{host}:{port}/ws")
}

const DOORS: &[&str] = &[
    "ws://127.0.0.1:0",
    #[cfg(feature = "http")]
    "http://127.0.0.1:0",
];

#[tokio::test]
async fn the_header_authorization_of_a_handshake_is_a_credential() {
    for door in DOORS {
        let alice = Principal::new("alice").with_role("agent-consumer");
        let events = Events::default();
        let security = Security::new().authenticate(tokens([alice]));
        let server = serve(security.audit(events.clone()), door).await;
        for (header, is_accepted) in [
            (Some(format!("Bearer {}", token("alice"))), true),
            (Some("Bearer wrong".to_owned()), false),
            (Some("Basic YTpi".to_owned()), false),
            (None, false),
        ] {
            let mut options = WebSocketOptions::new();
            let has_header = header.is_some();
            if let Some(header) = header {
                options = options.header("Authorization", header);
            }
            let builder = RemoteAgent::builder(websocket(&server)).name("weather");
            let remote = builder.websocket_options(options).build().unwrap();
            for _ in 0..2 {
                match remote.process(Message::user("?")).await {
                    Ok(reply) if is_accepted => {
                        assert_eq!(reply.content["principal"].as_str(), Some("alice"));
                    }
                    // A wrong credential is refused before the first request.
                    Err(error) if !is_accepted && has_header => {
                        assert!(error.is_connect() && !error.was_sent(), "{error:?}");
                        let Error::ConnectionFailed { source, .. } = &error else {
                            panic!("{error:?}");
                        };
                        let refused = source.websocket();
                        let is_401 =
                            matches!(refused, Some(WebSocketError::Refused { status: 401, .. }));
                        assert!(is_401, "{error:?}");
                    }
                    // A request may have a credential of its own.
                    Err(Error::Unauthenticated { .. }) if !is_accepted => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let denied = events.denied(AuditKind::Authentication);
        assert_eq!(denied.len(), 6, "{door}: {denied:?}");
        assert_eq!(denied[0], "unknown credential");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_credential_is_refused_as_plain_http() {
    for door in DOORS {
        let security = Security::new().authenticate(tokens([Principal::new("alice")]));
        let server = serve(security, door).await;
        let (host, port) = server.endpoint().host_and_port().unwrap();
        let mut connection = connect(&Endpoint::tcp(host, port).unwrap()).await.unwrap();
        let request = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
            Connection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer wrong\r\n\r\n";
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 1024];
        let len = connection.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..len]).to_lowercase();
        assert!(
            answer.starts_with("http/1.1 401 unauthorized\r\n"),
            "{answer}"
        );
        assert!(answer.contains("www-authenticate: bearer\r\n"), "{answer}");
        server.stop().await;
    }
}
