//! Shared envelopes and helpers.

use agentwire_codec::{
    Body, Call, DecodeError, Envelope, Execute, Format, Heartbeat, Map, Message, Register, Request,
    RequestId, Response, SentAt, Timestamp, ToolResult, Unregister, Value, WireError, json,
};

pub(crate) const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
pub(crate) const TIME: &str = "2025-11-08T12:34:56.789012+00:00";
pub(crate) const MESSAGE: &str = r#"{"role": "user", "content": "Hi", "metadata": {}, "timestamp": "2025-11-08T12:34:56.789012+00:00"}"#;

pub(crate) fn wire(kind: &str, payload: &str) -> String {
    format!(
        r#"{{"version": "1.0", "type": "{kind}", "id": "{ID}", "timestamp": "{TIME}", "payload": {payload}}}"#
    )
}

pub(crate) fn envelope(body: impl Into<Body>) -> Envelope {
    let mut envelope = Envelope::new(RequestId::from(ID), body);
    envelope.timestamp = Some(SentAt::from(TIME));
    envelope
}

pub(crate) fn message() -> Message {
    Message::user("Hi").with_timestamp(TIME.parse::<Timestamp>().unwrap())
}

pub(crate) fn map(text: &str) -> Map {
    match json::from_slice(text.as_bytes()).unwrap() {
        Value::Map(map) => map,
        other => panic!("{other:?} is no map"),
    }
}

pub(crate) fn decode(text: &str) -> Result<Envelope, DecodeError> {
    Format::Json.decode(text.as_bytes())
}

pub(crate) fn body(text: &str) -> Body {
    match decode(text) {
        Ok(envelope) => envelope.body,
        Err(error) => panic!("{text}: {error}"),
    }
}

pub(crate) fn encode(envelope: &Envelope) -> String {
    let mut buffer = Vec::new();
    Format::Json.encode(envelope, &mut buffer).unwrap();
    String::from_utf8(buffer).unwrap()
}

/// Formats the reply to a fault: `CODE: message; details`.
pub(crate) fn answer(error: &DecodeError) -> String {
    let answer = error.to_wire_error();
    assert_eq!(answer.code, error.code());
    let (code, message) = (answer.code, answer.message);
    format!("{code}: {message}; {}", Value::from(answer.details))
}

/// Returns every kind of body with its type and its payload on the wire (PROTOCOL 2.6).
pub(crate) fn bodies() -> Vec<(Body, &'static str, String)> {
    let mut register = Register::new("echo", "unix:///run/echo.sock");
    register.capabilities = Map::from([("stream", true)]);
    register.metadata = Map::from([("b", 1), ("a", 2)]);
    let mut result = ToolResult::success(vec![1, 2]);
    result.metadata = Map::from([("took", 0.5)]);
    let mut partial = ToolResult::failure("disk full");
    partial.data = "half".into();
    let mut detailed_register = Register::new("echo", "tcp://h:1");
    detailed_register.version = Some("1.2.0".into());
    detailed_register.instance = Some("7".into());
    let mut detailed_heartbeat = Heartbeat::healthy("echo");
    detailed_heartbeat.endpoint = Some("tcp://h:1".into());
    detailed_heartbeat.instance = Some("7".into());
    let mut detailed_unregister = Unregister::new("echo");
    detailed_unregister.endpoint = Some("tcp://h:1".into());
    let mut nameless_unregister = Unregister::new("");
    nameless_unregister.agent_name = None;
    nameless_unregister.instance = Some("7".into());
    vec![
        (
            Request::Process(Call::new("echo", message())).into(),
            "request",
            format!(r#"{{"method": "process", "agent_name": "echo", "message": {MESSAGE}}}"#),
        ),
        (
            Request::Process(Call::new("", message())).into(),
            "request",
            format!(r#"{{"method": "process", "message": {MESSAGE}}}"#),
        ),
        (
            Request::Stream(Call::new("echo", message())).into(),
            "request",
            format!(r#"{{"method": "stream", "agent_name": "echo", "message": {MESSAGE}}}"#),
        ),
        (
            Request::Execute(Execute::new("sum", Map::from([("y", 1), ("x", 2)]))).into(),
            "request",
            r#"{"method": "execute", "tool_name": "sum", "kwargs": {"y": 1, "x": 2}}"#.into(),
        ),
        (
            Request::Other(map(r#"{"x": 1, "method": "dance"}"#)).into(),
            "request",
            r#"{"x": 1, "method": "dance"}"#.into(),
        ),
        (
            Response::Message(message()).into(),
            "response",
            format!(r#"{{"message": {MESSAGE}}}"#),
        ),
        (
            Response::Tool(result).into(),
            "response",
            r#"{"result": {"success": true, "data": [1, 2], "error": null, "metadata": {"took": 0.5}}}"#.into(),
        ),
        (
            Response::Tool(partial).into(),
            "response",
            r#"{"result": {"success": false, "data": "half", "error": "disk full", "metadata": {}}}"#.into(),
        ),
        (
            Response::Other(map(r#"{"z": [1], "a": {}}"#)).into(),
            "response",
            r#"{"z": [1], "a": {}}"#.into(),
        ),
        (Response::Other(Map::new()).into(), "response", "{}".into()),
        (
            Body::StreamChunk(message()),
            "stream_chunk",
            format!(r#"{{"message": {MESSAGE}}}"#),
        ),
        (Body::StreamEnd, "stream_end", "{}".into()),
        (
            WireError::new("QUOTA_EXCEEDED", "caf\u{e9}")
                .with_details(Map::from([("left", 0)]))
                .into(),
            "error",
            r#"{"error_code": "QUOTA_EXCEEDED", "error_message": "caf\u00e9", "error_details": {"left": 0}}"#.into(),
        ),
        (
            register.into(),
            "register",
            r#"{"agent_name": "echo", "capabilities": {"stream": true}, "endpoint": "unix:///run/echo.sock", "metadata": {"b": 1, "a": 2}}"#.into(),
        ),
        (
            Heartbeat::healthy("echo").into(),
            "heartbeat",
            r#"{"agent_name": "echo", "status": "healthy"}"#.into(),
        ),
        (
            Unregister::new("echo").into(),
            "unregister",
            r#"{"agent_name": "echo"}"#.into(),
        ),
        (unregister_without_a_name(), "unregister", "{}".into()),
        (
            detailed_register.into(),
            "register",
            r#"{"agent_name": "echo", "capabilities": {}, "endpoint": "tcp://h:1", "metadata": {}, "version": "1.2.0", "instance": "7"}"#.into(),
        ),
        (
            detailed_heartbeat.into(),
            "heartbeat",
            r#"{"agent_name": "echo", "status": "healthy", "endpoint": "tcp://h:1", "instance": "7"}"#.into(),
        ),
        (
            detailed_unregister.into(),
            "unregister",
            r#"{"agent_name": "echo", "endpoint": "tcp://h:1"}"#.into(),
        ),
        (
            nameless_unregister.into(),
            "unregister",
            r#"{"instance": "7"}"#.into(),
        ),
    ]
}

pub(crate) fn unregister_without_a_name() -> Body {
    let mut unregister = Unregister::new("");
    unregister.agent_name = None;
    unregister.into()
}
