//! Input that is accepted although this codec would not write it.

use std::time::{Duration, SystemTime};

use agentwire_codec::{
    Body, Call, Execute, Heartbeat, Map, Register, Request, RequestId, Response, ToolResult,
    WireError,
};

use crate::fixtures::{
    ID, MESSAGE, TIME, answer, bodies, body, decode, envelope, message, unregister_without_a_name,
    wire,
};

#[test]
fn keys_may_come_in_any_order() {
    let payload = format!(r#"{{"message": {MESSAGE}, "agent_name": "echo", "method": "process"}}"#);
    let expected = envelope(Request::Process(Call::new("echo", message())));
    for text in in_every_order(&payload) {
        assert_eq!(decode(&text).expect(&text), expected, "{text}");
    }
}

#[test]
fn faults_and_ids_are_found_in_any_order_of_keys() {
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

/// Returns a request with its five keys in each of the 120 orders.
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
fn white_space_between_tokens_is_ignored() {
    for (body, kind, payload) in bodies() {
        let text = wire(kind, &payload);
        // No text in the table contains any of these.
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
fn unknown_keys_are_ignored_everywhere() {
    for (body, kind, payload) in bodies() {
        // The payloads of these bodies may have any key.
        if matches!(
            body,
            Body::Request(Request::Other(_)) | Body::Response(Response::Other(_))
        ) {
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
fn missing_and_null_values_become_their_defaults() {
    let no_message = WireError::new("A", "");
    for (kind, payload, expected) in [
        ("heartbeat", r#"{}"#, Body::from(Heartbeat::healthy(""))),
        (
            "heartbeat",
            r#"{"agent_name": null, "status": null, "endpoint": null, "instance": null}"#,
            Heartbeat::healthy("").into(),
        ),
        ("register", r#"{}"#, Register::new("", "").into()),
        (
            "register",
            r#"{"agent_name": null, "capabilities": null, "endpoint": null, "metadata": null, "version": null, "instance": null}"#,
            Register::new("", "").into(),
        ),
        ("unregister", r#"{}"#, unregister_without_a_name()),
        (
            "unregister",
            r#"{"agent_name": null, "endpoint": null, "instance": null}"#,
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
fn metadata_and_agent_name_are_optional() {
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
fn a_message_without_a_timestamp_gets_the_current_time() {
    for time in ["", r#", "timestamp": null"#, r#", "timestamp": """#] {
        let payload = format!(r#"{{"message": {{"role": "user", "content": null{time}}}}}"#);
        // Timestamps are truncated to microseconds.
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
fn any_timestamp_of_an_envelope_is_accepted() {
    for time in ["null", "5", "[1]", r#"{"a": 1}"#, r#""yesterday""#] {
        let text = format!(
            r#"{{"version": "1.0", "type": "stream_end", "id": "1", "timestamp": {time}, "payload": {{}}}}"#
        );
        assert_eq!(body(&text), Body::StreamEnd, "{text}");
    }
}

#[test]
fn keys_that_a_method_does_not_use_may_have_any_value() {
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

/// Other programs may use the keys of PROTOCOL 16 for something else.
#[test]
fn deadlines_and_idempotency_keys_that_cannot_be_used_are_ignored() {
    let delivery = |key: &str, value: &str| {
        let payload = format!(r#"{{"method": "process", "message": {MESSAGE}, "{key}": {value}}}"#);
        match body(&wire("request", &payload)) {
            Body::Request(Request::Process(call)) => call.delivery,
            other => panic!("{other:?}"),
        }
    };
    for value in ["-1", "1.5", "18446744073709551616", r#""5""#, "null", "[5]"] {
        assert_eq!(delivery("deadline_ms", value).deadline_ms, None, "{value}");
    }
    for (value, expected) in [("0", 0), ("18446744073709551615", u64::MAX)] {
        assert_eq!(delivery("deadline_ms", value).deadline_ms, Some(expected));
    }
    let text = |len: usize| format!("{:?}", "k".repeat(len));
    for value in [text(0), text(256), "7".to_owned(), "null".to_owned()] {
        let found = delivery("idempotency_key", &value).idempotency_key;
        assert_eq!(found, None, "{value}");
    }
    for len in [1, 255] {
        let found = delivery("idempotency_key", &text(len)).idempotency_key;
        assert_eq!(found.map(|key| key.len()), Some(len));
    }
}
