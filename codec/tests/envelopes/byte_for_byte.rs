//! Envelopes that are decoded and encoded without changing a byte.

use agentwire_codec::{Body, EncodeError, Format, MAX_DEPTH, Request, RequestId};

use crate::fixtures::{ID, MESSAGE, bodies, decode, encode, envelope, map, wire};

#[test]
fn every_envelope_round_trips_byte_for_byte() {
    for (body, kind, payload) in bodies() {
        let expected = wire(kind, &payload);
        let envelope = envelope(body);
        assert_eq!(envelope.body.kind().as_str(), kind);
        assert_eq!(encode(&envelope), expected);
        assert_eq!(decode(&expected).unwrap(), envelope, "{expected}");
    }
}

#[test]
fn ids_and_timestamps_of_any_text_are_kept() {
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
fn a_message_keeps_the_order_of_keys_all_digits_and_the_offset() {
    let message = r#"{"role": "narrator", "content": {"z": 1180591620717411303424, "a": [NaN, -0.0, 1e+16, -0.5]}, "metadata": {"b": {}, "a": null}, "timestamp": "2025-11-08T12:34:56+05:30:15"}"#;
    let text = wire("stream_chunk", &format!(r#"{{"message": {message}}}"#));
    assert_eq!(encode(&decode(&text).unwrap()), text);
}

#[test]
fn an_unknown_method_is_kept_with_its_payload() {
    for (payload, method) in [
        (
            r#"{"method": "dance", "message": 5, "agent_name": []}"#,
            Some("dance"),
        ),
        (r#"{"method": "", "b": 1, "a": 2}"#, Some("")),
        (r#"{"method": null}"#, None),
        (r#"{"method": true}"#, None),
        (r#"{"method": 5}"#, None),
        (r#"{"method": ["process"]}"#, None),
        (r#"{"method": "Process"}"#, Some("Process")),
        (r#"{}"#, None),
    ] {
        let text = wire("request", payload);
        let envelope = decode(&text).unwrap();
        assert_eq!(encode(&envelope), text);
        let Body::Request(request) = envelope.body else {
            panic!("{payload}");
        };
        assert_eq!(request.method(), method);
        assert_eq!(request, Request::Other(map(payload)));
    }
}

#[test]
fn nesting_up_to_the_limit_passes_and_one_more_level_does_not() {
    // The envelope, its payload and the message take three levels; the content takes the rest.
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
