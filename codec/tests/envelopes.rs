//! Tables of what the codec writes and reads, rule by rule of PROTOCOL.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::time::{Duration, SystemTime};

use agentwire_codec::{
    Body, Call, DecodeError, DecodeFault, EncodeError, Envelope, EnvelopeType, ErrorCode, Execute,
    Format, FrameError, Heartbeat, MAX_DEPTH, Map, Message, Register, Request, RequestId, Response,
    SentAt, Timestamp, ToolResult, Unregister, Value, WireError, json, put_frame,
};
use bytes::Bytes;

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
const TIME: &str = "2025-11-08T12:34:56.789012+00:00";
const MESSAGE: &str = r#"{"role": "user", "content": "Hi", "metadata": {}, "timestamp": "2025-11-08T12:34:56.789012+00:00"}"#;

fn wire(kind: &str, payload: &str) -> String {
    format!(
        r#"{{"version": "1.0", "type": "{kind}", "id": "{ID}", "timestamp": "{TIME}", "payload": {payload}}}"#
    )
}

fn envelope(body: impl Into<Body>) -> Envelope {
    let mut envelope = Envelope::new(RequestId::from(ID), body);
    envelope.timestamp = Some(SentAt::from(TIME));
    envelope
}

fn message() -> Message {
    Message::user("Hi").at(TIME.parse::<Timestamp>().unwrap())
}

fn map(text: &str) -> Map {
    match json::from_slice(text.as_bytes()).unwrap() {
        Value::Map(map) => map,
        other => panic!("{other:?} is no map"),
    }
}

fn decode(text: &str) -> Result<Envelope, DecodeError> {
    Format::Json.decode(text.as_bytes())
}

fn body(text: &str) -> Body {
    match decode(text) {
        Ok(envelope) => envelope.body,
        Err(error) => panic!("{text}: {error}"),
    }
}

fn encode(envelope: &Envelope) -> String {
    let mut buffer = Vec::new();
    Format::Json.encode(envelope, &mut buffer).unwrap();
    String::from_utf8(buffer).unwrap()
}

/// Every kind of body, its type, and its payload as it stands on the wire (PROTOCOL 2.6).
fn bodies() -> Vec<(Body, &'static str, String)> {
    let mut register = Register::new("echo", "unix:///run/echo.sock");
    register.capabilities = Map::from([("stream", true)]);
    register.metadata = Map::from([("b", 1), ("a", 2)]);
    let mut result = ToolResult::success(vec![1, 2]);
    result.metadata = Map::from([("took", 0.5)]);
    let mut partial = ToolResult::failure("disk full");
    partial.data = "half".into();
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
    ]
}

fn unregister_without_a_name() -> Body {
    let mut unregister = Unregister::new("");
    unregister.agent_name = None;
    unregister.into()
}

#[test]
fn every_envelope_is_written_byte_for_byte_and_read_back() {
    for (body, kind, payload) in bodies() {
        let expected = wire(kind, &payload);
        let envelope = envelope(body);
        assert_eq!(envelope.body.kind().as_str(), kind);
        assert_eq!(encode(&envelope), expected);
        assert_eq!(decode(&expected).unwrap(), envelope, "{expected}");
    }
}

#[test]
fn an_id_and_a_time_of_any_text_are_passed_on_as_they_came() {
    for (id, time) in [
        ("7", r#", "timestamp": "2025-11-08T12:34:56.123456789Z""#),
        (
            "67E55044-10B1-426F-9247-BB680E5FE0C8",
            r#", "timestamp": "soon""#,
        ),
        ("", r#", "timestamp": """#),
        (r"\ud83e\udd80", ""),
    ] {
        let text = format!(
            r#"{{"version": "1.0", "type": "stream_end", "id": "{id}"{time}, "payload": {{}}}}"#
        );
        assert_eq!(encode(&decode(&text).unwrap()), text);
    }
}

#[test]
fn an_envelopes_own_time_is_never_a_reason_to_refuse_it() {
    for time in ["null", "5", "[1]", r#"{"a": 1}"#, r#""yesterday""#] {
        let text = format!(
            r#"{{"version": "1.0", "type": "stream_end", "id": "1", "timestamp": {time}, "payload": {{}}}}"#
        );
        assert_eq!(body(&text), Body::StreamEnd, "{text}");
    }
}

#[test]
fn keys_may_come_in_any_order() {
    let payload = format!(r#"{{"message": {MESSAGE}, "agent_name": "echo", "method": "process"}}"#);
    let expected = envelope(Request::Process(Call::new("echo", message())));
    for text in in_every_order(&payload) {
        assert_eq!(decode(&text).expect(&text), expected, "{text}");
    }
}

#[test]
fn a_fault_and_the_id_are_found_whatever_the_order_of_the_keys() {
    for (payload, expected) in [
        (
            r#"{"message": {"role": "", "content": 1}, "method": "stream"}"#,
            r#"MALFORMED_PAYLOAD: Failed to decode message: role is empty; {"data": {"role": "", "content": 1}}"#,
        ),
        (
            "[]",
            "MALFORMED_PAYLOAD: Invalid payload: payload must be an object, not list; {}",
        ),
    ] {
        for text in in_every_order(payload) {
            let error = decode(&text).unwrap_err();
            assert_eq!(answer(&error), expected, "{text}");
            assert_eq!(error.id(), Some(&RequestId::from(ID)), "{text}");
        }
    }
}

/// A request with its five keys in each of the 120 orders.
fn in_every_order(payload: &str) -> Vec<String> {
    let entries = [
        r#""version": "1.0""#.to_owned(),
        r#""type": "request""#.to_owned(),
        format!(r#""id": "{ID}""#),
        format!(r#""timestamp": "{TIME}""#),
        format!(r#""payload": {payload}"#),
    ];
    let mut orders = vec![Vec::new()];
    for _ in &entries {
        orders = orders
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..entries.len())
                    .filter(|next| !order.contains(next))
                    .map(|next| [&order[..], &[next]].concat())
                    .collect::<Vec<_>>()
            })
            .collect();
    }
    assert_eq!(orders.len(), 120);
    orders
        .into_iter()
        .map(|order| {
            let entries: Vec<_> = order.iter().map(|&at| entries[at].as_str()).collect();
            format!("{{{}}}", entries.join(", "))
        })
        .collect()
}

#[test]
fn white_space_between_tokens_means_nothing() {
    for (body, kind, payload) in bodies() {
        let text = wire(kind, &payload);
        // No text in the table holds any of these.
        let spaced = text
            .replace(", \"", "\r\n,\t \"")
            .replace("\": ", "\" : \n")
            .replace('{', " { ")
            .replace('}', "\t}\n");
        assert_eq!(self::body(&spaced), body, "{spaced}");
        let compact = text.replace(", \"", ",\"").replace("\": ", "\":");
        assert_eq!(self::body(&compact), body, "{compact}");
    }
}

#[test]
fn unknown_keys_are_ignored_wherever_they_stand() {
    for (body, kind, payload) in bodies() {
        if matches!(body, Body::Request(Request::Other(_))) {
            continue;
        }
        let unknown = r#""extra": [{"payload": {}, "id": 1}, "}"]"#;
        let sprinkled = payload
            .replace(r#"{"role""#, &format!(r#"{{{unknown}, "role""#))
            .replace(r#"{"success""#, &format!(r#"{{{unknown}, "success""#));
        let sprinkled = match sprinkled.strip_prefix("{}") {
            Some(_) => format!("{{{unknown}}}"),
            None => sprinkled.replacen('{', &format!("{{{unknown}, "), 1),
        };
        let text = wire(kind, &sprinkled).replacen('{', &format!("{{{unknown}, "), 1);
        assert_eq!(decode(&text).expect(&text), envelope(body), "{text}");
    }
}

#[test]
fn of_a_repeated_key_the_last_value_counts() {
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
fn of_a_repeated_key_the_last_value_counts_for_every_type() {
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

#[test]
fn what_is_missing_or_null_is_read_as_its_default() {
    let no_message = WireError::new("A", "");
    for (kind, payload, expected) in [
        ("heartbeat", r#"{}"#, Body::from(Heartbeat::healthy(""))),
        (
            "heartbeat",
            r#"{"agent_name": null, "status": null}"#,
            Heartbeat::healthy("").into(),
        ),
        ("register", r#"{}"#, Register::new("", "").into()),
        (
            "register",
            r#"{"agent_name": null, "capabilities": null, "endpoint": null, "metadata": null}"#,
            Register::new("", "").into(),
        ),
        ("unregister", r#"{}"#, unregister_without_a_name()),
        (
            "unregister",
            r#"{"agent_name": null}"#,
            unregister_without_a_name(),
        ),
        ("error", r#"{"error_code": "A"}"#, no_message.clone().into()),
        (
            "error",
            r#"{"error_code": "A", "error_message": null, "error_details": null}"#,
            no_message.into(),
        ),
        ("stream_end", r#"{}"#, Body::StreamEnd),
        (
            "response",
            r#"{"result": {"success": true}}"#,
            Response::Tool(ToolResult::success(())).into(),
        ),
        (
            "response",
            r#"{"result": {"success": true, "data": null, "error": null, "metadata": null}}"#,
            Response::Tool(ToolResult::success(())).into(),
        ),
        (
            "request",
            r#"{"method": "execute", "tool_name": "t"}"#,
            Request::Execute(Execute::new("t", Map::new())).into(),
        ),
        (
            "request",
            r#"{"method": "execute", "tool_name": "t", "kwargs": null}"#,
            Request::Execute(Execute::new("t", Map::new())).into(),
        ),
    ] {
        assert_eq!(body(&wire(kind, payload)), expected, "{kind} {payload}");
    }
}

#[test]
fn a_message_lacks_metadata_or_an_agents_name_without_harm() {
    for metadata in ["", r#", "metadata": null"#, r#", "metadata": {}"#] {
        for name in ["", r#""agent_name": null, "#, r#""agent_name": "", "#] {
            let payload = format!(
                r#"{{"method": "process", {name}"message": {{"role": "user", "content": "Hi", "timestamp": "{TIME}"{metadata}}}}}"#
            );
            assert_eq!(
                body(&wire("request", &payload)),
                Request::Process(Call::new("", message())).into(),
                "{payload}"
            );
        }
    }
}

#[test]
fn a_message_without_a_time_is_taken_as_said_now() {
    for time in ["", r#", "timestamp": null"#, r#", "timestamp": """#] {
        let payload = format!(r#"{{"message": {{"role": "user", "content": null{time}}}}}"#);
        // Timestamps are cut to microseconds.
        let before = SystemTime::now() - Duration::from_micros(1);
        let Body::StreamChunk(message) = body(&wire("stream_chunk", &payload)) else {
            panic!("{payload}");
        };
        let said = message.timestamp.to_system_time().unwrap();
        assert!(before <= said && said <= SystemTime::now(), "{payload}");
        assert!(message.content.is_null());
    }
}

#[test]
fn a_message_that_is_passed_on_keeps_order_digits_and_offset() {
    let message = r#"{"role": "narrator", "content": {"z": 1180591620717411303424, "a": [NaN, -0.0, 1e+16, -0.5]}, "metadata": {"b": {}, "a": null}, "timestamp": "2025-11-08T12:34:56+05:30:15"}"#;
    let text = wire("stream_chunk", &format!(r#"{{"message": {message}}}"#));
    assert_eq!(encode(&decode(&text).unwrap()), text);
}

#[test]
fn a_method_that_is_not_known_is_kept_with_its_payload() {
    for (payload, method) in [
        (
            r#"{"method": "dance", "message": 5, "agent_name": []}"#,
            "dance",
        ),
        (r#"{"method": "", "b": 1, "a": 2}"#, ""),
        (r#"{"method": null}"#, "None"),
        (r#"{"method": true}"#, "True"),
        (r#"{"method": 5}"#, "5"),
        (r#"{"method": ["process"]}"#, r#"["process"]"#),
        (r#"{"method": "Process"}"#, "Process"),
        (r#"{}"#, "None"),
    ] {
        let text = wire("request", payload);
        let envelope = decode(&text).unwrap();
        let Body::Request(request) = &envelope.body else {
            panic!("{payload}");
        };
        assert_eq!(*request, Request::Other(map(payload)));
        assert_eq!(request.method().to_plain_text(), method);
        assert_eq!(encode(&envelope), text);
    }
}

#[test]
fn what_a_method_does_not_need_may_be_anything() {
    for (payload, expected) in [
        (
            r#"{"tool_name": "t", "message": {"role": ""}, "agent_name": 5, "method": "execute"}"#
                .to_owned(),
            Request::Execute(Execute::new("t", Map::new())),
        ),
        (
            format!(
                r#"{{"kwargs": 5, "tool_name": [], "message": {MESSAGE}, "method": "stream"}}"#
            ),
            Request::Stream(Call::new("", message())),
        ),
    ] {
        assert_eq!(body(&wire("request", &payload)), expected.into());
    }
}

/// The answer to a fault: `CODE: message; details`.
fn answer(error: &DecodeError) -> String {
    let answer = error.to_wire_error();
    assert_eq!(answer.code, error.code());
    assert_eq!(answer.message, error.to_string());
    format!("{answer}; {}", Value::from(answer.details.clone()))
}

#[test]
fn every_unreadable_payload_is_answered_as_the_protocol_says() {
    const SYNTAX: &str = "MALFORMED_PAYLOAD: Failed to decode JSON:";
    let deep = format!(
        r#"{{"id": "1", "payload": {}{}}}"#,
        "[".repeat(1000),
        "]".repeat(1000)
    );
    let rows: &[(&[u8], &str, Option<&str>)] = &[
        (b"", "unexpected end at byte 0", None),
        (b" ", "unexpected end at byte 1", None),
        (b"{", "expected a key in double quotes at byte 1", None),
        (b"hello", "expected a value at byte 0", None),
        (b"{\"id\": \"\xff\"}", "not UTF-8 at byte 8", None),
        (b"\xef\xbb\xbf{}", "byte-order mark at byte 0", None),
        (b"[1", "expected ',' or ']' at byte 2", None),
        (
            b"{\"id\": \"1\", \"a\": }",
            "expected a value at byte 17",
            Some("1"),
        ),
        (
            b"{\"id\": \"1\", \"a\": \"\x07\"}",
            "control character in text at byte 18",
            Some("1"),
        ),
        (
            b"{\"id\": \"1\", \"payload\": \"\\udc00\"}",
            "lone surrogate in text at byte 24",
            Some("1"),
        ),
        (
            b"{\"a\": \"\\ud800\", \"id\": \"1\"}",
            "lone surrogate in text at byte 7",
            None,
        ),
        (
            b"{\"id\": \"1\"} {}",
            "extra data after the value at byte 12",
            Some("1"),
        ),
        (
            b"{\"id\": \"1\"}\0",
            "extra data after the value at byte 11",
            Some("1"),
        ),
        (
            deep.as_bytes(),
            "nested deeper than 256 levels at byte 278",
            Some("1"),
        ),
        (b"\x85\xa7version", "not UTF-8 at byte 0", None),
    ];
    for (input, reason, id) in rows {
        let shown = String::from_utf8_lossy(input);
        let error = Format::Json.decode(input).expect_err(&shown);
        assert!(
            matches!(error.fault(), DecodeFault::Syntax { .. }),
            "{shown}"
        );
        assert_eq!(
            answer(&error),
            format!("{SYNTAX} {reason}; {{}}"),
            "{shown}"
        );
        assert_eq!(error.id(), id.map(RequestId::from).as_ref(), "{shown}");
    }
}

#[test]
fn everything_that_is_no_envelope_is_answered_as_the_protocol_says() {
    const INVALID: &str = "INVALID_MESSAGE: Invalid envelope:";
    for (input, reason, id) in [
        ("null", "expected an object, not null", None),
        ("[{}]", "expected an object, not list", None),
        ("\"text\"", "expected an object, not text", None),
        ("{}", "version is missing", None),
        (r#"{"id": "1"}"#, "version is missing", Some("1")),
        (
            r#"{"version": "1.0", "id": "1", "payload": {}}"#,
            "type is missing",
            Some("1"),
        ),
        (
            r#"{"version": "1.0", "type": "stream_end", "payload": {}}"#,
            "id is missing",
            None,
        ),
        (
            r#"{"version": "1.0", "type": "stream_end", "id": "1"}"#,
            "payload is missing",
            Some("1"),
        ),
        (
            r#"{"version": "1.0", "type": "stream_end", "id": 1, "payload": {}}"#,
            "id must be text, not integer",
            None,
        ),
        (
            r#"{"version": "1.0", "type": "stream_end", "id": null, "payload": {}}"#,
            "id must be text, not null",
            None,
        ),
        (
            r#"{"version": "1.0", "type": "stream_end", "id": "1", "id": [], "payload": {}}"#,
            "id must be text, not list",
            None,
        ),
        (
            r#"{"version": "1.0", "type": "dance", "id": "1", "payload": {}}"#,
            r#"unknown type "dance""#,
            Some("1"),
        ),
        (
            r#"{"version": "1.0", "type": "Request", "id": "1", "payload": 5}"#,
            r#"unknown type "Request""#,
            Some("1"),
        ),
        (
            r#"{"version": "1.0", "type": null, "id": "1", "payload": {}}"#,
            "unknown type null",
            Some("1"),
        ),
    ] {
        let error = decode(input).expect_err(input);
        assert!(
            matches!(error.fault(), DecodeFault::Envelope { .. }),
            "{input}"
        );
        assert_eq!(
            answer(&error),
            format!("{INVALID} {reason}; {{}}"),
            "{input}"
        );
        assert_eq!(error.id(), id.map(RequestId::from).as_ref(), "{input}");
    }
}

#[test]
fn another_version_is_named_before_anything_else_is_found_wrong() {
    for (version, shown) in [
        (r#""2.0""#, "2.0"),
        (r#""1.00""#, "1.00"),
        (r#""""#, ""),
        ("1.0", "1.0"),
        ("2", "2"),
        ("null", "None"),
        ("false", "False"),
        (r#"{"major": 1}"#, r#"{"major": 1}"#),
    ] {
        for rest in [
            r#""type": "stream_end", "payload": {}"#,
            r#""type": "dance", "payload": []"#,
            r#""type": "request", "payload": {"method": "process"}"#,
            r#""x": 1"#,
        ] {
            for (id, expected) in [(r#""1""#, Some("1")), ("1", None)] {
                let text = format!(r#"{{"id": {id}, {rest}, "version": {version}}}"#);
                let error = decode(&text).expect_err(&text);
                assert_eq!(
                    answer(&error),
                    format!(
                        r#"UNSUPPORTED_VERSION: Unsupported protocol version: {shown}; {{"version": {version}, "supported": ["1.0"]}}"#
                    )
                );
                assert_eq!(error.id(), expected.map(RequestId::from).as_ref());
            }
        }
    }
}

#[test]
fn a_payload_that_is_no_object_is_malformed_for_every_type() {
    for (_, kind, _) in bodies() {
        for (payload, found) in [
            ("null", "null"),
            ("[]", "list"),
            ("\"{}\"", "text"),
            ("1", "integer"),
            ("1.5", "float"),
            ("true", "bool"),
        ] {
            let error = decode(&wire(kind, payload)).unwrap_err();
            assert_eq!(
                answer(&error),
                format!(
                    "MALFORMED_PAYLOAD: Invalid payload: payload must be an object, not {found}; {{}}"
                )
            );
            assert_eq!(error.id(), Some(&RequestId::from(ID)));
        }
    }
}

#[test]
fn a_value_of_the_wrong_type_is_malformed_and_named() {
    for (kind, payload, reason) in [
        (
            "request",
            format!(r#"{{"method": "process", "agent_name": 5, "message": {MESSAGE}}}"#),
            "agent_name must be text, not integer",
        ),
        (
            "request",
            r#"{"method": "execute", "tool_name": 5}"#.into(),
            "tool_name must be text, not integer",
        ),
        (
            "request",
            r#"{"method": "execute", "kwargs": {}}"#.into(),
            "tool_name is missing",
        ),
        (
            "request",
            r#"{"method": "execute", "tool_name": "", "kwargs": {}}"#.into(),
            "tool_name is missing",
        ),
        (
            "request",
            r#"{"method": "execute", "tool_name": "t", "kwargs": [1]}"#.into(),
            "kwargs must be an object, not list",
        ),
        (
            "response",
            r#"{"result": []}"#.into(),
            "result must be an object, not list",
        ),
        (
            "response",
            r#"{"result": {}}"#.into(),
            "result: success is missing",
        ),
        (
            "response",
            r#"{"result": {"success": 1}}"#.into(),
            "success must be a bool, not integer",
        ),
        (
            "response",
            r#"{"result": {"success": null}}"#.into(),
            "success must be a bool, not null",
        ),
        (
            "response",
            r#"{"result": {"success": false}}"#.into(),
            "result: a failure has no error text",
        ),
        (
            "response",
            r#"{"result": {"success": false, "error": ""}}"#.into(),
            "result: a failure has no error text",
        ),
        (
            "response",
            r#"{"result": {"success": true, "error": 5}}"#.into(),
            "error must be text, not integer",
        ),
        (
            "response",
            r#"{"result": {"success": true, "metadata": 5}}"#.into(),
            "metadata must be an object, not integer",
        ),
        ("error", "{}".into(), "error_code is missing"),
        (
            "error",
            r#"{"error_code": 5}"#.into(),
            "error_code must be text, not integer",
        ),
        (
            "error",
            r#"{"error_code": "A", "error_message": {}}"#.into(),
            "error_message must be text, not map",
        ),
        (
            "error",
            r#"{"error_code": "A", "error_details": "x"}"#.into(),
            "error_details must be an object, not text",
        ),
        (
            "heartbeat",
            r#"{"agent_name": 5}"#.into(),
            "agent_name must be text, not integer",
        ),
        (
            "heartbeat",
            r#"{"status": false}"#.into(),
            "status must be text, not bool",
        ),
        (
            "register",
            r#"{"agent_name": []}"#.into(),
            "agent_name must be text, not list",
        ),
        (
            "register",
            r#"{"capabilities": []}"#.into(),
            "capabilities must be an object, not list",
        ),
        (
            "register",
            r#"{"endpoint": 1.5}"#.into(),
            "endpoint must be text, not float",
        ),
        (
            "register",
            r#"{"metadata": "x"}"#.into(),
            "metadata must be an object, not text",
        ),
        (
            "unregister",
            r#"{"agent_name": 5}"#.into(),
            "agent_name must be text, not integer",
        ),
    ] {
        let error = decode(&wire(kind, &payload)).expect_err(&payload);
        assert_eq!(
            answer(&error),
            format!("MALFORMED_PAYLOAD: Invalid payload: {reason}; {{}}"),
            "{payload}"
        );
        assert_eq!(error.id(), Some(&RequestId::from(ID)), "{payload}");
    }
}

#[test]
fn a_malformed_message_is_named_and_sent_back() {
    for (message, reason) in [
        ("5", "message must be an object, not integer"),
        ("null", "message must be an object, not null"),
        ("[]", "message must be an object, not list"),
        ("{}", "role is missing"),
        (r#"{"content": 1}"#, "role is missing"),
        (r#"{"role": "", "content": 1}"#, "role is empty"),
        (
            r#"{"role": null, "content": 1}"#,
            "role must be text, not null",
        ),
        (
            r#"{"role": 5, "content": 1}"#,
            "role must be text, not integer",
        ),
        (r#"{"role": "user"}"#, "content is missing"),
        (
            r#"{"role": "user", "metadata": [], "content": 1}"#,
            "metadata must be an object, not list",
        ),
        (
            r#"{"role": "user", "content": 1, "timestamp": 5}"#,
            "timestamp must be text, not integer",
        ),
        (
            r#"{"role": "user", "content": 1, "timestamp": "soon"}"#,
            r#"timestamp is not an ISO 8601 timestamp: "soon""#,
        ),
        (
            r#"{"role": "user", "content": 1, "timestamp": "2025-02-29"}"#,
            r#"timestamp is not an ISO 8601 timestamp: "2025-02-29""#,
        ),
    ] {
        for (kind, payload) in [
            (
                "request",
                format!(r#"{{"method": "process", "message": {message}}}"#),
            ),
            (
                "request",
                format!(r#"{{"message": {message}, "method": "stream"}}"#),
            ),
            ("response", format!(r#"{{"message": {message}}}"#)),
            ("stream_chunk", format!(r#"{{"message": {message}}}"#)),
        ] {
            let error = decode(&wire(kind, &payload)).expect_err(&payload);
            assert_eq!(
                answer(&error),
                format!(
                    r#"MALFORMED_PAYLOAD: Failed to decode message: {reason}; {{"data": {message}}}"#
                )
            );
            assert_eq!(error.id(), Some(&RequestId::from(ID)));
        }
    }
}

#[test]
fn a_missing_message_is_a_malformed_one() {
    for (kind, payload) in [
        ("request", r#"{"method": "process"}"#),
        ("request", r#"{"method": "stream", "agent_name": "echo"}"#),
        ("response", "{}"),
        ("stream_chunk", r#"{"messages": []}"#),
    ] {
        let error = decode(&wire(kind, payload)).expect_err(payload);
        assert_eq!(
            answer(&error),
            r#"MALFORMED_PAYLOAD: Failed to decode message: message is missing; {"data": null}"#
        );
    }
}

#[test]
fn an_answer_echoes_a_whole_envelope_as_it_came() {
    let text = r#"{"payload": {"status": "healthy", "x": 1.50}, "id": "1", "type": "heartbeat", "version": "1.0"}"#;
    assert_eq!(decode(text).unwrap().body.kind().to_string(), "heartbeat");
    let echoed = Format::Json.decode_value(text.as_bytes()).unwrap();
    assert_eq!(echoed.to_string(), text.replace("1.50", "1.5"));
    let fault = Format::Json.decode_value(b"{").unwrap_err();
    assert!(
        matches!(fault, DecodeFault::Syntax { offset: 1, .. }),
        "{fault}"
    );
}

#[test]
fn an_answer_to_any_fault_can_be_sent() {
    for text in [
        "",
        "{}",
        r#"{"version": NaN}"#,
        &wire("stream_chunk", r#"{"message": {"role": ""}}"#),
    ] {
        let error = decode(text).unwrap_err();
        let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
        let answer = Envelope::new(id, error.to_wire_error());
        assert_eq!(decode(&encode(&answer)).unwrap(), answer);
    }
}

#[test]
fn nesting_up_to_the_limit_passes_and_one_more_level_does_not() {
    // The envelope, its payload, the message and the content's own levels.
    let nested = |depth: usize| {
        let content = "[".repeat(depth) + &"]".repeat(depth);
        let message = MESSAGE.replace(r#""Hi""#, &content);
        wire("stream_chunk", &format!(r#"{{"message": {message}}}"#))
    };
    let deepest = nested(MAX_DEPTH - 3);
    let mut envelope = decode(&deepest).unwrap();
    assert_eq!(encode(&envelope), deepest);
    let error = decode(&nested(MAX_DEPTH - 2)).unwrap_err();
    assert!(
        error.to_string().contains("nested deeper than 256 levels"),
        "{error}"
    );
    assert_eq!(error.id(), Some(&RequestId::from(ID)));

    let Body::StreamChunk(message) = &mut envelope.body else {
        panic!("{envelope:?}");
    };
    message.content = vec![std::mem::take(&mut message.content)].into();
    let error = Format::Json.encode(&envelope, &mut Vec::new()).unwrap_err();
    assert!(
        matches!(error, EncodeError::TooDeep { max: MAX_DEPTH }),
        "{error}"
    );
}

#[test]
fn an_envelope_that_cannot_be_written_leaves_the_buffer_as_it_was() {
    let bytes = Value::from(Bytes::from_static(b"raw"));
    let mut deep = Value::Null;
    for _ in 0..=MAX_DEPTH {
        deep = vec![deep].into();
    }
    let mut silent = ToolResult::failure("");
    let no_text = Response::Tool(silent.clone());
    silent.error = None;
    type Check = fn(&EncodeError) -> bool;
    let in_json: Check = |error| matches!(error, EncodeError::BytesInJson);
    let too_deep: Check = |error| matches!(error, EncodeError::TooDeep { max: MAX_DEPTH });
    let no_role: Check = |error| matches!(error, EncodeError::EmptyRole);
    let no_name: Check = |error| matches!(error, EncodeError::EmptyToolName);
    let no_error: Check = |error| matches!(error, EncodeError::MissingToolError);
    let too_large: Check = |error| matches!(error, EncodeError::Frame(FrameError::TooLarge { len, max: 1000 }) if *len > 1000);
    let rows: Vec<(Body, Check)> = vec![
        (Body::StreamChunk(Message::user(bytes.clone())), in_json),
        (
            Body::StreamChunk(Message::user(1).with_metadata("raw", vec![bytes.clone()])),
            in_json,
        ),
        (
            Request::Execute(Execute::new("t", Map::from([("raw", bytes.clone())]))).into(),
            in_json,
        ),
        (
            WireError::new("A", "b")
                .with_details(Map::from([("raw", bytes.clone())]))
                .into(),
            in_json,
        ),
        (Response::Tool(ToolResult::success(bytes)).into(), in_json),
        (Body::StreamChunk(Message::user(deep)), too_deep),
        (Body::StreamChunk(Message::new("", "Hi")), no_role),
        (
            Request::Process(Call::new("echo", Message::new("", "Hi"))).into(),
            no_role,
        ),
        (
            Request::Execute(Execute::new("", Map::new())).into(),
            no_name,
        ),
        (no_text.into(), no_error),
        (Response::Tool(silent).into(), no_error),
        (
            Body::StreamChunk(Message::user("x".repeat(1000))),
            too_large,
        ),
    ];
    for (body, is_expected) in rows {
        let envelope = envelope(body);
        let mut buffer = b"before".to_vec();
        let error = put_frame(&mut buffer, 1000, |buffer| {
            Format::Json.encode(&envelope, buffer)
        })
        .unwrap_err();
        assert!(is_expected(&error), "{envelope:?}: {error}");
        assert_eq!(buffer, b"before", "{error}");
    }
}

#[test]
fn debug_shows_nothing_of_what_is_said() {
    let secret = r#""hunter2""#;
    let told = format!(r#"{{"role": "user", "content": {secret}, "metadata": {{"k": {secret}}}}}"#);
    for (kind, payload) in [
        (
            "request",
            format!(r#"{{"method": "process", "message": {told}}}"#),
        ),
        (
            "request",
            format!(r#"{{"method": "dance", "message": {secret}}}"#),
        ),
        (
            "request",
            format!(r#"{{"method": "execute", "tool_name": "t", "kwargs": {{"k": {secret}}}}}"#),
        ),
        ("response", format!(r#"{{"message": {told}}}"#)),
        (
            "response",
            format!(
                r#"{{"result": {{"success": true, "data": {secret}, "metadata": {{"k": {secret}}}}}}}"#
            ),
        ),
        ("stream_chunk", format!(r#"{{"message": {told}}}"#)),
        (
            "error",
            format!(r#"{{"error_code": "A", "error_details": {{"k": {secret}}}}}"#),
        ),
        (
            "register",
            format!(r#"{{"capabilities": {{"k": {secret}}}, "metadata": {{"k": {secret}}}}}"#),
        ),
    ] {
        let shown = format!("{:?}", decode(&wire(kind, &payload)).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let malformed = format!(r#"{{"message": {{"role": "", "content": {secret}}}}}"#);
    let shown = format!(
        "{:?}",
        decode(&wire("stream_chunk", &malformed)).unwrap_err()
    );
    assert!(
        shown.contains("role is empty") && !shown.contains("hunter2"),
        "{shown}"
    );
}
