//! Input that is refused, and the error of the reply (PROTOCOL 7.3).

use agentwire_codec::{DecodeFault, Envelope, ErrorCode, Format, RequestId};

use crate::fixtures::{ID, MESSAGE, answer, bodies, decode, encode, wire};

#[test]
fn every_malformed_payload_gets_the_reply_of_the_protocol() {
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
fn every_invalid_envelope_gets_the_reply_of_the_protocol() {
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
fn an_unsupported_version_takes_precedence_over_other_faults() {
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
fn a_payload_that_is_not_an_object_is_malformed_for_every_type() {
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
fn a_value_of_the_wrong_type_is_named_in_the_reply() {
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
            "heartbeat",
            r#"{"endpoint": {}}"#.into(),
            "endpoint must be text, not map",
        ),
        (
            "heartbeat",
            r#"{"instance": 7}"#.into(),
            "instance must be text, not integer",
        ),
        (
            "register",
            r#"{"version": 1.5}"#.into(),
            "version must be text, not float",
        ),
        (
            "unregister",
            r#"{"instance": true}"#.into(),
            "instance must be text, not bool",
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
fn a_malformed_message_is_returned_in_the_details() {
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
fn a_missing_message_counts_as_a_malformed_one() {
    for (kind, payload) in [
        ("request", r#"{"method": "process"}"#),
        ("request", r#"{"method": "stream", "agent_name": "echo"}"#),
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
fn a_whole_envelope_can_be_decoded_as_a_value() {
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
fn the_reply_to_any_fault_can_be_encoded() {
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
fn a_large_value_is_described_in_the_reply_in_place_of_being_repeated() {
    let list = format!("[{}0]", "0, ".repeat(1000));
    let text = format!("\"{}\"", "x".repeat(1000));
    let envelope = |version: &str, payload: &str| {
        format!(
            r#"{{"version": {version}, "type": "request", "id": "{ID}", "payload": {payload}}}"#
        )
    };
    let message = |role: &str| {
        let payload = r#"{"method": "process", "message": {"content": 1, "role": ROLE}}"#;
        envelope(r#""1.0""#, &payload.replace("ROLE", role))
    };
    let shown = "x".repeat(200);
    for (input, expected) in [
        (
            envelope(&list, "{}"),
            r#"UNSUPPORTED_VERSION: Unsupported protocol version: list of 3003 bytes; {"version": "list of 3003 bytes", "supported": ["1.0"]}"#.to_owned(),
        ),
        (
            envelope(&text, "{}"),
            format!(
                r#"UNSUPPORTED_VERSION: Unsupported protocol version: {shown}… (1000 bytes); {{"version": "{shown}\u2026 (1000 bytes)", "supported": ["1.0"]}}"#
            ),
        ),
        (
            message(&list),
            r#"MALFORMED_PAYLOAD: Failed to decode message: role must be text, not list; {"data": "object of 3027 bytes"}"#.to_owned(),
        ),
        (
            message("[0]"),
            r#"MALFORMED_PAYLOAD: Failed to decode message: role must be text, not list; {"data": {"content": 1, "role": [0]}}"#.to_owned(),
        ),
        (
            envelope(r#""1.0""#, r#"{"method": "process", "message": TEXT}"#).replace("TEXT", &list),
            r#"MALFORMED_PAYLOAD: Failed to decode message: message must be an object, not list; {"data": "list of 3003 bytes"}"#.to_owned(),
        ),
    ] {
        assert_eq!(answer(&decode(&input).unwrap_err()), expected);
    }
}

#[test]
fn the_text_of_a_reply_is_not_escaped_but_the_display_of_the_error_is() {
    let input = r#"{"version": "2\u001b[31m\n", "id": "1", "type": "request", "payload": {}}"#;
    let error = decode(input).unwrap_err();
    assert_eq!(
        error.to_wire_error().message,
        "Unsupported protocol version: 2\u{1b}[31m\n"
    );
    assert_eq!(
        error.to_string(),
        r"Unsupported protocol version: 2\u{1b}[31m\n"
    );
}

#[test]
fn the_reply_to_a_payload_over_the_memory_limit_names_the_limit() {
    let call = format!(r#"{{"method": "process", "message": {MESSAGE}}}"#);
    let text = wire("request", &call).replace(r#""Hi""#, &format!("[{}1]", "1, ".repeat(1000)));
    let error = Format::Json
        .decode_within(text.as_bytes(), 4096)
        .unwrap_err();
    let reply = error.to_wire_error();
    assert_eq!(reply.code, ErrorCode::MALFORMED_PAYLOAD);
    assert_eq!(reply.details.get("reason"), Some(&"memory".into()));
    assert_eq!(reply.details.get("limit"), Some(&4096.into()));
    assert_eq!(error.id(), Some(&RequestId::from(ID)));
}
