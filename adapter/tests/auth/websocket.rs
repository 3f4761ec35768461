//! The credential in the handshake of a WebSocket.

use agentwire::{Error, Message, Principal, WebSocketOptions, auth::Security};

use super::support::{client, serve, token, tokens};

#[tokio::test]
async fn the_header_authorization_of_a_handshake_is_a_credential() {
    let alice = Principal::new("alice").with_role("agent-consumer");
    let security = Security::new().authenticate(tokens([alice]));
    let server = serve(security, "ws://127.0.0.1:0").await;
    for (header, is_accepted) in [
        (Some(format!("Bearer {}", token("alice"))), true),
        (Some("Bearer wrong".to_owned()), false),
        (Some("Basic YTpi".to_owned()), false),
        (None, false),
    ] {
        let mut options = WebSocketOptions::new();
        if let Some(header) = header {
            options = options.header("Authorization", header);
        }
        let remote = client(&server).websocket_options(options).build().unwrap();
        for _ in 0..2 {
            match remote.process(Message::user("?")).await {
                Ok(reply) if is_accepted => {
                    assert_eq!(reply.content["principal"].as_str(), Some("alice"));
                }
                Err(Error::Unauthenticated { .. }) if !is_accepted => {}
                other => panic!("{other:?}"),
            }
        }
    }
    server.stop().await;
}
