//! Invalid input is answered or ends its connection, and disturbs no other peer.

use std::time::Duration;

use crate::common::{
    RawPeer, ScriptedAgent, call, error_of, frame, listen, memory, process_frame, within,
};
use agentwire::{
    ErrorCode, Format, FrameLimits, LocalAgent, Message, RemoteAgent, ToolResult, agent_fn, tool_fn,
};
use agentwire_codec::{Body, Envelope, Heartbeat, Map, RequestId, Response, Value, map, value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_frame_that_cannot_be_served_is_answered_and_the_connection_stays_usable() {
    let endpoint = memory("bad-frames");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    for (payload, code, text, id) in [
        (
            "",
            "MALFORMED_PAYLOAD",
            "Failed to decode JSON: unexpected end at byte 0",
            "unknown",
        ),
        (
            "{x",
            "MALFORMED_PAYLOAD",
            "Failed to decode JSON: expected a key",
            "unknown",
        ),
        (
            "[]",
            "INVALID_MESSAGE",
            "expected an object, not list",
            "unknown",
        ),
        (
            r#"{"id": "7"}"#,
            "INVALID_MESSAGE",
            "version is missing",
            "7",
        ),
        (
            r#"{"version": "2.0", "type": "request", "id": "7", "payload": {}}"#,
            "UNSUPPORTED_VERSION",
            "Unsupported protocol version: 2.0",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "dance", "id": "7", "payload": {}}"#,
            "INVALID_MESSAGE",
            "unknown type",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "request", "id": 7, "payload": {}}"#,
            "INVALID_MESSAGE",
            "id must be text",
            "unknown",
        ),
        (
            r#"{"version": "1.0", "type": "request", "payload": [], "id": "7"}"#,
            "MALFORMED_PAYLOAD",
            "payload must be an object",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "dance"}}"#,
            "INVALID_MESSAGE",
            "Unknown method: dance",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "request", "id": "7", "payload": {}}"#,
            "INVALID_MESSAGE",
            "Unknown method: None",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "execute", "tool_name": "t"}}"#,
            "TOOL_NOT_FOUND",
            "Tool not found: t; there are none here",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "execute", "tool_name": ""}}"#,
            "MALFORMED_PAYLOAD",
            "tool_name is missing",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "process", "message": {"role": "u"}}}"#,
            "MALFORMED_PAYLOAD",
            "Failed to decode message: content is missing",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "response", "id": "7", "payload": {}}"#,
            "INVALID_MESSAGE",
            "Expected 'request' but got 'response'",
            "7",
        ),
        (
            r#"{"version": "1.0", "type": "heartbeat", "id": "7", "payload": {"agent_name": "x"}}"#,
            "INVALID_MESSAGE",
            "Expected 'request' but got 'heartbeat'",
            "7",
        ),
    ] {
        peer.send_frame(payload.as_bytes()).await;
        let (found_code, found_text, found_id) = error_of(&peer.receive().await);
        assert_eq!(
            (found_code.as_str(), found_id.as_str()),
            (code, id),
            "{payload}"
        );
        assert!(found_text.contains(text), "{payload}: {found_text}");
    }
    peer.send(&process_frame("8", Message::user("still here")))
        .await;
    let reply = peer.receive().await;
    assert_eq!(reply.id, RequestId::from("8"));
    assert!(matches!(reply.body, Body::Response(_)));
}

#[tokio::test]
async fn a_bad_messagepack_frame_is_answered_in_messagepack() {
    let endpoint = memory("bad-msgpack");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    for (payload, text) in [
        (
            &b"\x81\xa2id"[..],
            "Failed to decode MessagePack: unexpected end",
        ),
        (b"\x80", "version is missing"),
        (b"\x81\x01\x01", "a map key must be text"),
    ] {
        peer.send_frame(payload).await;
        let payload = peer.receive_payload().await;
        let envelope = Format::MessagePack.decode(&payload).unwrap();
        assert!(error_of(&envelope).1.contains(text), "{envelope:?}");
    }
    peer.send(&process_frame(
        "8",
        Message::user("JSON on the same connection"),
    ))
    .await;
    assert!(matches!(peer.receive().await.body, Body::Response(_)));
}

#[tokio::test]
async fn an_envelope_that_is_not_a_request_is_named_in_the_details() {
    let endpoint = memory("no-request");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    let sent = frame(&Envelope::new(
        RequestId::from("7"),
        Heartbeat::healthy("x"),
    ));
    peer.send(&sent).await;
    let Body::Error(error) = peer.receive().await.body else {
        panic!("expected an error")
    };
    let request = error.details.get("request").unwrap().to_string();
    assert_eq!(request.as_bytes(), &sent[4..]);
}

#[tokio::test]
async fn an_answer_to_a_large_refused_frame_is_short() {
    const LONGEST: usize = 2000;
    let endpoint = memory("large-refusals");
    let server = LocalAgent::builder(ScriptedAgent)
        .agent(agent_fn(
            "other",
            |message: Message| async move { Ok(message) },
        ))
        .tool(tool_fn("double", |kwargs: Map| async move {
            Ok(ToolResult::success(kwargs))
        }));
    let _server = within(server.endpoint(&endpoint).serve()).await.unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    let text = "x".repeat(100_000);
    let list = vec![Value::from(0); 100_000];
    let message = value!({"role": "user", "content": (list.clone())});
    let request = |payload: Value| ("request", payload);
    for (kind, payload) in [
        ("response", value!({"message": (message.clone())})),
        ("heartbeat", value!({"agent_name": (text.clone())})),
        (
            "register",
            value!({"capabilities": {"all": (list.clone())}}),
        ),
        request(value!({"method": (text.clone())})),
        request(value!({"method": (list.clone())})),
        request(value!({"method": {"a": (list.clone())}})),
        request(value!({"method": "process", "message": (list.clone())})),
        request(value!({"method": "process", "message": {"role": "", "content": (list.clone())}})),
        request(value!({"method": "process", "agent_name": (text.clone()), "message": (message)})),
        request(value!({"method": "execute", "tool_name": (text.clone())})),
    ] {
        for version in [value!("1.0"), text.clone().into(), list.clone().into()] {
            let envelope = map! {
                "version": version,
                "type": kind,
                "id": "7",
                "payload": (payload.clone()),
            };
            for format in [Format::Json, Format::MessagePack] {
                let mut sent = Vec::new();
                format
                    .encode_value(&envelope.clone().into(), &mut sent)
                    .unwrap();
                peer.send_frame(&sent).await;
                let received = peer.receive_payload().await;
                assert!(received.len() < LONGEST, "{}", received.escape_ascii());
                let answer = format.decode(&received).unwrap();
                assert!(matches!(answer.body, Body::Error(_)), "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn requests_at_every_split_point_are_served() {
    let endpoint = memory("splits");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let bytes = process_frame("7", Message::user("split"));
    let mut peer = RawPeer::connect(&endpoint).await;
    for split in 0..=bytes.len() {
        peer.send(&bytes[..split]).await;
        // Lets the server read the first part before the second.
        tokio::task::yield_now().await;
        peer.send(&bytes[split..]).await;
        assert!(
            matches!(peer.receive().await.body, Body::Response(_)),
            "split at {split}"
        );
    }
}

#[tokio::test]
async fn pipelined_requests_are_all_answered() {
    let endpoint = memory("pipelined");
    let builder = LocalAgent::builder(ScriptedAgent).max_in_flight_per_connection(3);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    let mut all = Vec::new();
    for i in 0..100 {
        all.extend_from_slice(&process_frame(&i.to_string(), Message::user(i)));
    }
    peer.send(&all).await;
    let mut answered = Vec::new();
    for _ in 0..100 {
        let envelope = peer.receive().await;
        let Body::Response(Response::Message(message)) = envelope.body else {
            panic!("expected a response")
        };
        assert_eq!(message.content.to_string(), envelope.id.to_string());
        answered.push(message.content.as_i64().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slow_request_does_not_hold_up_the_next_on_the_same_connection() {
    let endpoint = memory("overtaking");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    peer.send(&process_frame(
        "slow",
        Message::user("x").with_metadata("do", "hang"),
    ))
    .await;
    peer.send(&process_frame("quick", Message::user("x"))).await;
    assert_eq!(peer.receive().await.id, RequestId::from("quick"));
}

#[tokio::test]
async fn a_header_over_the_limit_is_answered_and_the_connection_closed() {
    for endpoint in [memory("oversize"), "tcp://127.0.0.1:0".parse().unwrap()] {
        let builder =
            LocalAgent::builder(ScriptedAgent).frame_limits(FrameLimits::default().receive(999));
        let server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
        let peer = RawPeer::connect(server.endpoint()).await;
        // When the server refuses the frame, more bytes are in flight than the limit and any buffer
        // allow.
        let (mut from, mut to) = tokio::io::split(peer.connection);
        let flood = tokio::spawn(async move {
            to.write_all(&u32::MAX.to_be_bytes()).await?;
            for _ in 0..64 {
                to.write_all(&[b'x'; 64 * 1024]).await?;
            }
            to.shutdown().await
        });
        let len = within(from.read_u32()).await.unwrap();
        let mut payload = vec![0; len as usize];
        within(from.read_exact(&mut payload)).await.unwrap();
        let envelope = Format::Json.decode(&payload).unwrap();
        let (code, text, id) = error_of(&envelope);
        assert_eq!(
            (code.as_str(), id.as_str()),
            ("MALFORMED_PAYLOAD", "unknown"),
            "{text}"
        );
        let Body::Error(error) = envelope.body else {
            unreachable!()
        };
        assert_eq!(
            error.details,
            Map::from([("length", u64::from(u32::MAX)), ("limit", 999)])
        );
        assert_eq!(within(from.read(&mut [0])).await.unwrap(), 0, "closed");
        within(flood).await.unwrap().unwrap();
        within(server.stop()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_before_an_oversize_frame_are_still_answered() {
    let endpoint = memory("before-oversize");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    let slow = Message::user("x").with_metadata("do", "slow");
    peer.send(&process_frame("7", slow)).await;
    peer.send(&u32::MAX.to_be_bytes()).await;
    assert_eq!(error_of(&peer.receive().await).2, "unknown");
    let reply = tokio::time::timeout(Duration::from_secs(3600), peer.connection.read_u32());
    let len = reply.await.unwrap().unwrap();
    let mut payload = vec![0; len as usize];
    within(peer.connection.read_exact(&mut payload))
        .await
        .unwrap();
    assert_eq!(
        Format::Json.decode(&payload).unwrap().id,
        RequestId::from("7")
    );
    peer.receive_end().await;
}

#[tokio::test]
async fn a_peer_that_disconnects_inside_a_frame_frees_its_connection() {
    let endpoint = memory("vanishing");
    let builder = LocalAgent::builder(ScriptedAgent).max_connections(1);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let bytes = process_frame("7", Message::user("x"));
    for len in [1, 3, 4, 5, bytes.len() - 1] {
        let mut peer = RawPeer::connect(&endpoint).await;
        peer.send(&bytes[..len]).await;
    }
    // The only connection of the server is free again.
    within(
        RemoteAgent::new(&endpoint)
            .unwrap()
            .process(Message::user("x")),
    )
    .await
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_disconnected() {
    let endpoint = memory("silent");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let patient = Duration::from_secs(3600);

    let mut silent = RawPeer::connect(&endpoint).await;
    let end = tokio::time::timeout(patient, silent.connection.read(&mut [0])).await;
    assert_eq!(end.unwrap().unwrap(), 0, "idle");

    let mut half = RawPeer::connect(&endpoint).await;
    half.send(b"\0\0").await;
    let end = tokio::time::timeout(patient, half.connection.read(&mut [0])).await;
    assert_eq!(end.unwrap().unwrap(), 0, "half a header");
}

#[tokio::test(start_paused = true)]
async fn a_connection_in_use_is_not_idle() {
    let endpoint = memory("in-use");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(59)).await;
        peer.send(&process_frame("7", Message::user("x"))).await;
        assert!(matches!(peer.receive().await.body, Body::Response(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_no_answers_is_disconnected() {
    let endpoint = memory("not-taking");
    let builder = LocalAgent::builder(ScriptedAgent).max_connections(1);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let mut peer = RawPeer::connect(&endpoint).await;
    let text = "x".repeat(1 << 20);
    peer.send(&process_frame("7", Message::user(text))).await;
    // The disconnect frees the only connection of the server.
    let remote = RemoteAgent::builder(&endpoint)
        .timeout(Duration::from_secs(600))
        .build()
        .unwrap();
    let reply = tokio::time::timeout(
        Duration::from_secs(3600),
        remote.process(Message::user("x")),
    );
    reply.await.unwrap().unwrap();
}

/// Serves one connection with scripted bytes, as a faulty server does.
async fn call_scripted(test: &str, script: impl Fn(RequestId) -> Vec<u8>) -> agentwire::Error {
    let (endpoint, mut listener) = listen(test).await;
    let remote = RemoteAgent::builder(&endpoint)
        .name("scripted")
        .build()
        .unwrap();
    let called = call(&remote, "x");
    let (mut peer, id) = RawPeer::asked(&mut listener).await;
    peer.send(&script(id)).await;
    drop(peer);
    within(called).await.unwrap().unwrap_err()
}

#[tokio::test]
async fn a_bad_answer_is_a_typed_error() {
    let text = |payload: &'static str| {
        move |id: RequestId| {
            let payload = payload.replace("ID", &id.to_string());
            [
                &(payload.len() as u32).to_be_bytes()[..],
                payload.as_bytes(),
            ]
            .concat()
        }
    };
    for (script, code) in [
        ("not json", ErrorCode::MALFORMED_PAYLOAD),
        ("[]", ErrorCode::INVALID_MESSAGE),
        (
            r#"{"version": "9", "type": "response", "id": "ID", "payload": {}}"#,
            ErrorCode::UNSUPPORTED_VERSION,
        ),
        (
            r#"{"version": "1.0", "type": "response", "id": "ID", "payload": {"message": 5}}"#,
            ErrorCode::MALFORMED_PAYLOAD,
        ),
        (
            r#"{"version": "1.0", "type": "response", "id": "ID", "payload": {"massage": {}}}"#,
            ErrorCode::INVALID_MESSAGE,
        ),
        (
            r#"{"version": "1.0", "type": "stream_end", "id": "ID", "payload": {}}"#,
            ErrorCode::INVALID_MESSAGE,
        ),
    ] {
        let error = call_scripted("bad-answer", text(script)).await;
        assert!(error.is_protocol(), "{script}: {error}");
        assert_eq!(error.code(), code, "{script}: {error}");
        assert!(error.to_string().contains("\"scripted\""), "{error}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_fails_the_call() {
    for script in [&b""[..], b"\0", b"\0\0\0\x05ab"] {
        let error = call_scripted("cut", |_| script.to_vec()).await;
        assert!(error.is_disconnected(), "{error}");
        assert_eq!(error.code(), ErrorCode::CONNECTION_CLOSED);
    }
}

#[tokio::test]
async fn answers_without_a_call_are_discarded() {
    let error = call_scripted("stray", |id| {
        let stray = Envelope::new(
            RequestId::random(),
            Response::Message(Message::agent("stray")),
        );
        let mine = Envelope::new(id, agentwire::WireError::new("MINE", "for this call"));
        [frame(&stray), frame(&mine)].concat()
    })
    .await;
    assert_eq!(error.code(), ErrorCode::from("MINE"));
}

#[tokio::test]
async fn an_error_without_an_id_fails_the_only_call_on_its_connection() {
    let error = call_scripted("no-id", |_| {
        frame(&Envelope::new(
            RequestId::unknown(),
            agentwire::WireError::new("INTERNAL_ERROR", "?"),
        ))
        .to_vec()
    })
    .await;
    assert!(error.is_remote(), "{error}");
}

#[tokio::test]
async fn an_oversize_answer_is_refused_at_its_header() {
    let error = call_scripted("oversize-answer", |_| u32::MAX.to_be_bytes().to_vec()).await;
    assert!(error.is_protocol(), "{error}");
}
