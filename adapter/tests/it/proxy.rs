//! A proxy: what it passes on, what it keeps to itself, and how it ends.

use std::time::Duration;

use crate::common::{RawPeer, listen, memory, within};
use agentwire::{
    Agent, Endpoint, Error, LocalAgent, Map, Message, Proxy, RemoteAgent, ToolResult, agent_fn,
    map,
    registry::{
        InstanceRef, LocalRegistry, Registration, Registry, RegistryServer, RemoteRegistry,
        WatchScope,
    },
    stream_fn, tool_fn,
};
use agentwire_codec::Envelope;
use futures_util::stream;

fn named(name: &'static str) -> impl Agent {
    agent_fn(
        name,
        move |_: Message| async move { Ok(Message::agent(name)) },
    )
}

async fn proxy_to(target: &Endpoint) -> Proxy {
    within(Proxy::serve(target, memory("proxy"))).await.unwrap()
}

/// A proxy to a peer that the test plays, and the connections at both ends of the proxy.
async fn between_peers() -> (Proxy, RawPeer, agentwire::transport::Listener) {
    let (endpoint, far) = listen("target").await;
    let proxy = proxy_to(&endpoint).await;
    let near = RawPeer::connect(proxy.endpoint()).await;
    (proxy, near, far)
}

#[tokio::test]
async fn agents_and_tools_behind_a_proxy_are_called_by_their_names() {
    let double = tool_fn("double", |kwargs: Map| async move {
        Ok(ToolResult::success(
            kwargs["n"].as_u64().unwrap_or_default() * 2,
        ))
    });
    let server = LocalAgent::builder(named("one"))
        .agent(named("two"))
        .tool(double)
        .endpoint(memory("agents"))
        .serve()
        .await
        .unwrap();
    let proxy = proxy_to(server.endpoint()).await;
    for name in ["one", "two"] {
        let remote = RemoteAgent::builder(proxy.endpoint()).name(name).build();
        let reply = within(remote.unwrap().process(Message::user("x"))).await;
        assert_eq!(reply.unwrap().text(), Some(name));
    }
    let remote = RemoteAgent::new(proxy.endpoint()).unwrap();
    let result = within(remote.execute("double", map! {"n": 21})).await;
    assert_eq!(result.unwrap().data, 42);

    let unknown = RemoteAgent::builder(proxy.endpoint()).name("three").build();
    let error = within(unknown.unwrap().process(Message::user("x"))).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::AgentNotFound { .. }), "{error:?}");
    let details = map! {"agent_name": "three", "available": ["one", "two"]};
    assert_eq!(error.remote().unwrap().details, details);
    let error = within(remote.execute("triple", Map::new())).await;
    assert!(matches!(error, Err(Error::ToolNotFound { .. })));
}

#[tokio::test]
async fn the_name_of_a_proxy_is_given_to_calls_that_name_no_agent() {
    let server = LocalAgent::builder(named("one"))
        .agent(named("two"))
        .endpoint(memory("agents"))
        .serve()
        .await
        .unwrap();
    let target = RemoteAgent::builder(server.endpoint()).name("two");
    let proxy = Proxy::builder(target).endpoint(memory("proxy"));
    let proxy = within(proxy.serve()).await.unwrap();
    for (name, answers) in [("", "two"), ("one", "one"), ("two", "two")] {
        let remote = RemoteAgent::builder(proxy.endpoint()).name(name).build();
        let reply = within(remote.unwrap().process(Message::user("x"))).await;
        assert_eq!(reply.unwrap().text(), Some(answers));
    }
}

#[tokio::test]
async fn a_registry_behind_a_proxy_is_used_like_any_other() {
    let server = RegistryServer::serve(LocalRegistry::new(), memory("registry"));
    let server = within(server).await.unwrap();
    let proxy = proxy_to(server.endpoint()).await;
    let registry = RemoteRegistry::new(proxy.endpoint()).unwrap();
    let mut watch = registry.watch(WatchScope::All);
    assert!(within(watch.next()).await.unwrap().is_ok());

    let weather = Registration::new("weather", "tcp://198.51.100.1:80".parse().unwrap());
    let which = InstanceRef::from(&weather);
    within(registry.register(weather)).await.unwrap();
    assert_eq!(
        within(watch.next()).await.unwrap().unwrap().name(),
        "joined"
    );
    assert_eq!(within(registry.lookup("weather")).await.unwrap().len(), 1);
    within(registry.heartbeat(&which)).await.unwrap();
    within(registry.unregister(&which)).await.unwrap();
    assert_eq!(within(watch.next()).await.unwrap().unwrap().name(), "left");

    // The watch is in flight and does not end by itself.
    within(proxy.stop()).await;
}

/// Requests and answers with keys, types and methods that no version knows.
#[tokio::test]
async fn what_a_proxy_does_not_know_is_passed_on_unchanged() {
    let (_proxy, mut near, mut far) = between_peers().await;
    let requests = [
        (
            "request",
            r#"{"priority": 7, "method": "process", "trace": [1, 1e-07], "message": {"role": "", "colour": "red", "content": 1}, "agent_name": "b"}"#,
        ),
        (
            "request",
            r#"{"method": "execute", "tool_name": "", "kwargs": {}, "dry": true}"#,
        ),
        (
            "request",
            r#"{"method": "dance", "steps": 18446744073709551616}"#,
        ),
        ("request", r#"{"steps": {}}"#),
        ("heartbeat", r#"{"agent_name": "b", "load": 0.5}"#),
        ("register", r#"{"shard": 3, "agent_name": 7}"#),
        ("unregister", "{}"),
    ];
    let answers = [
        (
            "response",
            r#"{"cost": 3, "message": {"role": "", "tone": "dry"}}"#,
        ),
        (
            "error",
            r#"{"error_code": "OUT_OF_LUCK", "retry_after": 5, "error_message": "x", "error_details": {}}"#,
        ),
    ];
    for (kind, payload) in requests {
        for (answer_kind, answer) in answers {
            let sent = envelope(kind, "near", payload);
            near.send_frame(sent.as_bytes()).await;
            let mut target = within(RawPeer::accept(&mut far)).await;
            let (arrived, id) = without_id(&target.receive_payload().await);
            assert_eq!(arrived, without_id(sent.as_bytes()).0);

            let sent = envelope(answer_kind, &id, answer);
            target.send_frame(sent.as_bytes()).await;
            let (arrived, id) = without_id(&near.receive_payload().await);
            assert_eq!(arrived, without_id(sent.as_bytes()).0);
            assert_eq!(id, "near");
            // The proxy closes an idle connection that its target has closed.
            drop(target);
        }
    }
}

#[tokio::test]
async fn a_stream_is_passed_on_chunk_by_chunk_with_every_key() {
    let (_proxy, mut near, mut far) = between_peers().await;
    let request = envelope("request", "near", r#"{"method": "stream"}"#);
    near.send_frame(request.as_bytes()).await;
    let mut target = within(RawPeer::accept(&mut far)).await;
    let (_, id) = without_id(&target.receive_payload().await);
    for (kind, payload) in [
        ("stream_chunk", r#"{"usage": 1, "message": {"role": "r"}}"#),
        ("stream_chunk", r#"{"usage": 2, "delta": "x"}"#),
        ("stream_end", r#"{"usage": 3}"#),
    ] {
        let sent = envelope(kind, &id, payload);
        target.send_frame(sent.as_bytes()).await;
        // The next answer is sent only after this one has arrived.
        let (arrived, _) = without_id(&near.receive_payload().await);
        assert_eq!(arrived, without_id(sent.as_bytes()).0);
    }
}

#[tokio::test]
async fn streams_do_not_take_the_connections_of_calls() {
    let endless = stream_fn("endless", |message: Message| {
        stream::repeat_with(move || Ok(message.clone()))
    });
    let server = LocalAgent::builder(endless)
        .agent(named("one"))
        .endpoint(memory("agents"))
        .serve();
    let server = within(server).await.unwrap();
    for share in [1, 2] {
        let target = RemoteAgent::builder(server.endpoint())
            .max_connections(1)
            .max_in_flight_per_connection(share);
        let proxy = Proxy::builder(target).endpoint(memory("proxy"));
        let proxy = within(proxy.serve()).await.unwrap();
        let remote = |name| {
            RemoteAgent::builder(proxy.endpoint())
                .name(name)
                .build()
                .unwrap()
        };
        let mut stream = remote("endless").stream(Message::user("x"));
        assert!(within(stream.next()).await.unwrap().is_ok());
        for _ in 0..3 {
            let reply = within(remote("one").process(Message::user("x"))).await;
            assert_eq!(reply.unwrap().text(), Some("one"));
        }
        assert!(within(stream.next()).await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_caller_does_not_learn_the_endpoint_of_the_target() {
    let nowhere = memory("secret");
    let target = RemoteAgent::builder(&nowhere).timeout(Duration::from_millis(50));
    let proxy = Proxy::builder(target).endpoint(memory("proxy"));
    let proxy = within(proxy.serve()).await.unwrap();
    let remote = RemoteAgent::new(proxy.endpoint()).unwrap();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    let error = error.remote().unwrap();
    assert_eq!(error.code.as_str(), "CONNECTION_FAILED");
    assert_eq!(error.message, "The proxy cannot connect to its target");
    assert!(error.details.is_empty());

    let (endpoint, mut silent) = listen("secret").await;
    for (answers, text) in [
        (&[][..], "before the answer arrived"),
        (b"\0\0\0\x02{}", "sent an invalid answer"),
        (b"\xff\xff\xff\xff", "sent an invalid answer"),
    ] {
        let proxy = proxy_to(&endpoint).await;
        let remote = RemoteAgent::new(proxy.endpoint()).unwrap();
        let call = tokio::spawn(async move { remote.process(Message::user("x")).await });
        let mut target = within(RawPeer::accept(&mut silent)).await;
        target.receive_payload().await;
        if !answers.is_empty() {
            target.send(answers).await;
        }
        drop(target);
        let error = within(call).await.unwrap().unwrap_err();
        let message = &error.remote().unwrap().message;
        assert!(message.contains(text), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

/// An envelope in the canonical spelling, with unknown keys.
fn envelope(kind: &str, id: &str, payload: &str) -> String {
    format!(
        r#"{{"version": "1.0", "type": "{kind}", "id": "{id}", "timestamp": "long ago", "payload": {payload}, "hop": 1}}"#
    )
}

/// Returns the text of an envelope with another id, and its id.
fn without_id(payload: &[u8]) -> (String, String) {
    let text = String::from_utf8(payload.to_vec()).unwrap();
    let Envelope { id, .. } = agentwire::Format::Json.decode_raw(payload).unwrap();
    (text.replacen(&id.to_string(), "ID", 1), id.to_string())
}
