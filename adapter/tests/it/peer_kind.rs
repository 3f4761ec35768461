//! Clients and proxies that call Go servers send only what such a server can read.

use crate::common::{RawPeer, listen, memory, within};
use agentwire::{
    Error, Format, LocalAgent, Map, Message, PeerKind, Proxy, RemoteAgent, Value, agent_fn, map,
    registry::{LocalRegistry, Registration, Registry},
};
use agentwire_codec::{ErrorCode, WireError};

/// Contents that end the process of a Go server.
fn fatal() -> [(Value, &'static str); 4] {
    [
        (vec![1, 2].into(), "a list"),
        (map! {"a": 1}.into(), "a map"),
        (42.into(), "an integer"),
        (Value::Null, "null"),
    ]
}

fn is_refused(error: &Error, what: &str) -> bool {
    let (key, peer) = ("content", PeerKind::Go);
    matches!(error, Error::UnreadableByPeer { key: k, peer: p, found, .. }
        if (*k, *p, *found) == (key, peer, what))
}

#[tokio::test]
async fn a_content_that_is_not_text_is_refused_before_anything_is_sent() {
    // The client is never asked to connect: nothing listens.
    let endpoint = memory("no-go-server");
    let remote = RemoteAgent::builder(&endpoint).name("go");
    let remote = remote.peer(PeerKind::Go).build().unwrap();
    for (content, what) in fatal() {
        let error = within(remote.process(Message::user(content.clone()))).await;
        let error = error.unwrap_err();
        assert!(is_refused(&error, what), "{error:?}");
        assert!(!error.was_sent() && !error.is_retryable() && error.is_encode());
        assert_eq!(error.context().unwrap().endpoint.as_ref(), Some(&endpoint));
        let text = format!(
            "agent \"go\" at {endpoint}: a Go server cannot read the message: its content is {what}"
        );
        assert_eq!(error.to_string(), text);

        let mut stream = remote.stream(Message::user(content));
        let error = within(stream.next()).await.unwrap().unwrap_err();
        assert!(is_refused(&error, what), "{error:?}");
        assert!(within(stream.next()).await.is_none());
    }
    assert_eq!(remote.stats().in_flight, 0);
}

#[tokio::test]
async fn a_client_by_name_refuses_it_too() {
    let registry = LocalRegistry::new();
    let registration = Registration::new("go", memory("no-go-server-by-name"));
    registry.register(registration).await.unwrap();
    let remote = RemoteAgent::discover(registry, "go").peer(PeerKind::Go);
    let remote = remote.build().unwrap();
    let error = within(remote.process(Message::user(7))).await.unwrap_err();
    assert!(is_refused(&error, "an integer"), "{error:?}");
}

#[tokio::test]
async fn text_is_sent_and_metadata_may_hold_anything() {
    let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
    let server = LocalAgent::serve(echo, memory("peer-kind-text")).await;
    let server = server.unwrap();
    let remote = RemoteAgent::builder(server.endpoint()).peer(PeerKind::Go);
    let remote = remote.build().unwrap();
    let message = Message::user("[1]").with_metadata("list", vec![1, 2]);
    let reply = within(remote.process(message.clone())).await.unwrap();
    assert_eq!(reply, message);
}

#[tokio::test]
async fn a_proxy_completes_messages_for_go_and_refuses_the_others() {
    let (endpoint, mut far) = listen("go-target").await;
    let target = RemoteAgent::builder(&endpoint).peer(PeerKind::Go);
    let proxy = Proxy::builder(target).endpoint(memory("go-proxy"));
    let proxy = within(proxy.serve()).await.unwrap();

    let remote = RemoteAgent::new(proxy.endpoint()).unwrap();
    for (content, what) in fatal() {
        let error = within(remote.process(Message::user(content))).await;
        let error = error.unwrap_err();
        let remote = error.remote().unwrap();
        assert_eq!(remote.code, ErrorCode::MALFORMED_PAYLOAD);
        let text =
            format!("The target of the proxy cannot read the message: its content is {what}");
        assert_eq!(remote.message, text);
    }

    let mut near = RawPeer::connect(proxy.endpoint()).await;
    near.send_frame(
        br#"{"version": "1.0", "type": "request", "id": "1", "payload": {"method": "process",
            "message": {"role": "user", "content": "hi"}}}"#,
    )
    .await;
    let mut far = RawPeer::accept(&mut far).await;
    let received = String::from_utf8(far.receive_payload().await).unwrap();
    let received: Value = received.parse().unwrap();
    let message = received["payload"]["message"].as_map().unwrap();
    let keys: Vec<_> = message.keys().collect();
    assert_eq!(keys, ["role", "content", "metadata", "timestamp"]);
    assert_eq!(message["metadata"], Map::new());
}

#[test]
fn go_servers_read_only_json() {
    let builder = RemoteAgent::builder("memory://a").peer(PeerKind::Go);
    let error = builder.format(Format::MessagePack).build().unwrap_err();
    let Error::InvalidSetting { setting, problem } = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (setting, problem),
        ("format", "must be JSON for Go servers")
    );
}

#[tokio::test]
async fn the_error_of_a_go_server_for_a_tool_says_that_it_has_none() {
    let (endpoint, mut listener) = listen("go-without-tools").await;
    let go = tokio::spawn(async move {
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        let text = "invalid message: unknown method: execute";
        peer.reply(&id, WireError::new(ErrorCode::INTERNAL_ERROR, text))
            .await;
    });
    let remote = RemoteAgent::builder(&endpoint).peer(PeerKind::Go);
    let remote = remote.build().unwrap();
    let error = within(remote.execute("add", Map::new())).await;
    assert!(matches!(error, Err(Error::Unsupported { .. })), "{error:?}");
    within(go).await.unwrap();
}

/// A call that used the connection would be lost with it, after it was sent.
#[tokio::test]
async fn a_connection_that_go_is_about_to_close_is_not_used_again() {
    let (endpoint, mut listener) = listen("go-closes").await;
    let remote = RemoteAgent::builder(&endpoint).build().unwrap();
    let go = tokio::spawn(async move {
        let mut connections = Vec::new();
        for (code, text) in [
            (ErrorCode::INVALID_MESSAGE, "missing method"),
            (
                ErrorCode::INTERNAL_ERROR,
                "invalid message: unknown method: execute",
            ),
            (
                ErrorCode::INTERNAL_ERROR,
                "invalid message: unknown method: describe",
            ),
        ] {
            let (mut peer, id) = RawPeer::asked(&mut listener).await;
            peer.reply(&id, WireError::new(code, text)).await;
            // The connection stays open for longer than the next request takes.
            connections.push(peer);
        }
        let (mut peer, id) = RawPeer::asked(&mut listener).await;
        peer.answer(&id, "well").await;
        connections.push(peer);
        connections
    });
    within(remote.ping()).await.unwrap();
    within(remote.execute("add", Map::new())).await.unwrap_err();
    within(remote.describe()).await.unwrap_err();
    let reply = within(remote.process(Message::user("?"))).await.unwrap();
    assert_eq!(reply.text(), Some("well"));
    assert_eq!(within(go).await.unwrap().len(), 4);
}
