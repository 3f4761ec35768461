//! Repeated keys, of which the last value counts (PROTOCOL 2.8).

use agentwire_codec::{
    Body, Call, EnvelopeType, ErrorCode, Execute, Heartbeat, Map, Register, Request, RequestId,
    Response, ToolResult, Unregister, WireError,
};

use crate::fixtures::{MESSAGE, body, decode, message, wire};

#[test]
fn the_last_value_of_a_repeated_key_counts() {
    let with = |head: &str, payload: &str| {
        format!(
            r#"{{"version": "1.0", "type": "request", "id": "1", "payload": {payload}, {head}}}"#
        )
    };
    let process = format!(r#"{{"method": "process", "message": {MESSAGE}}}"#);
    let expected = Body::from(Request::Process(Call::new("", message())));
    for text in [
        // In the envelope.
        with(r#""id": "2""#, &process),
        with(r#""timestamp": 1, "timestamp": null"#, &process),
        with(&format!(r#""payload": {process}"#), "[]"),
        with(
            &format!(r#""payload": {process}"#),
            r#"{"method": "process", "message": 5}"#,
        ),
        with(r#""type": "nonsense", "type": "request""#, &process),
        with(r#""type": "heartbeat", "type": "request""#, &process),
        with(r#""version": "2.0", "version": "1.0""#, &process),
        // In the payload.
        with(
            r#""x": 1"#,
            &format!(
                r#"{{"method": "dance", "message": 5, "message": {MESSAGE}, "method": "process"}}"#
            ),
        ),
        with(
            r#""x": 1"#,
            &format!(
                r#"{{"method": "process", "agent_name": 5, "agent_name": null, "message": {MESSAGE}}}"#
            ),
        ),
        // In the message.
        with(
            r#""x": 1"#,
            &process.replace(r#""role":"#, r#""role": 5, "role": "", "role":"#),
        ),
        with(
            r#""x": 1"#,
            &process.replace(
                r#""metadata":"#,
                r#""metadata": 5, "metadata": {"a": 1}, "metadata":"#,
            ),
        ),
        with(
            r#""x": 1"#,
            &process.replace(
                r#""timestamp":"#,
                r#""timestamp": "soon", "timestamp": 5, "timestamp":"#,
            ),
        ),
        with(
            r#""x": 1"#,
            &process.replace(r#""content":"#, r#""content": [1], "content":"#),
        ),
    ] {
        assert_eq!(body(&text), expected, "{text}");
    }
    assert_eq!(
        decode(&with(r#""id": "2""#, &process)).unwrap().id,
        RequestId::from("2")
    );
    assert_eq!(
        decode(&with(r#""type": "stream_end""#, &process))
            .unwrap()
            .body
            .kind(),
        EnvelopeType::StreamEnd,
        "the payload is read as the last type says"
    );
}

#[test]
fn the_last_value_of_a_repeated_key_counts_in_every_type() {
    for (kind, payload, expected) in [
        ("stream_chunk", format!(r#"{{"message": 5, "message": {{"role": ""}}, "message": {MESSAGE}}}"#), Body::StreamChunk(message())),
        ("response", format!(r#"{{"message": 5, "message": {MESSAGE}}}"#), Response::Message(message()).into()),
        (
            "response",
            r#"{"result": 5, "result": {"success": 1, "error": 2, "success": true, "error": null, "metadata": 3, "metadata": {}}}"#.into(),
            Response::Tool(ToolResult::success(())).into(),
        ),
        ("heartbeat", r#"{"agent_name": 5, "status": [], "status": "healthy", "agent_name": "echo"}"#.into(), Heartbeat::healthy("echo").into()),
        ("unregister", r#"{"agent_name": 5, "agent_name": "echo"}"#.into(), Unregister::new("echo").into()),
        ("register", r#"{"capabilities": 1, "capabilities": {}, "agent_name": "a", "endpoint": 5, "endpoint": "b", "metadata": "", "metadata": null}"#.into(), Register::new("a", "b").into()),
        ("error", r#"{"error_code": 5, "error_code": "A", "error_details": 1, "error_details": {}, "error_message": 2, "error_message": "b"}"#.into(), WireError::new("A", "b").into()),
        ("request", r#"{"method": "execute", "tool_name": 5, "kwargs": 5, "kwargs": {}, "tool_name": "t"}"#.into(), Request::Execute(Execute::new("t", Map::new())).into()),
    ] {
        assert_eq!(body(&wire(kind, &payload)), expected, "{payload}");
    }
    for (kind, payload) in [
        (
            "heartbeat",
            r#"{"agent_name": "echo", "agent_name": 5}"#.to_owned(),
        ),
        (
            "stream_chunk",
            format!(r#"{{"message": {MESSAGE}, "message": {{"role": ""}}}}"#),
        ),
        (
            "stream_chunk",
            format!(
                r#"{{"message": {}}}"#,
                MESSAGE.replace(r#", "content""#, r#", "role": 5, "content""#)
            ),
        ),
        (
            "request",
            format!(r#"{{"method": "process", "message": {MESSAGE}, "message": null}}"#),
        ),
        (
            "request",
            r#"{"method": "execute", "tool_name": "t", "tool_name": ""}"#.to_owned(),
        ),
    ] {
        let error = decode(&wire(kind, &payload)).expect_err(&payload);
        assert_eq!(error.code(), ErrorCode::MALFORMED_PAYLOAD, "{payload}");
    }
}
