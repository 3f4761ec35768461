//! Envelopes that are passed on: every key that the sender wrote is kept.

use agentwire_codec::{Body, Envelope, Format, RequestId};

/// An envelope in the canonical spelling, with the payload and the unknown keys given.
fn text(kind: &str, payload: &str) -> String {
    format!(
        r#"{{"version": "1.0", "type": "{kind}", "id": "7", "timestamp": "long ago", "payload": {payload}, "hop": 3, "later": null}}"#
    )
}

fn passed_on(text: &str, format: Format) -> String {
    let envelope = Format::Json.decode_raw(text.as_bytes()).expect(text);
    let Body::Raw(raw) = envelope.body else {
        panic!("not raw: {text}");
    };
    let copy = Envelope::new(RequestId::from("7"), *raw);
    let mut payload = Vec::new();
    format.encode(&copy, &mut payload).expect(text);
    let again = format.decode_raw(&payload).expect(text);
    assert_eq!(again, copy, "{text}");
    let mut payload = Vec::new();
    Format::Json.encode(&again, &mut payload).expect(text);
    String::from_utf8(payload).expect(text)
}

#[test]
fn every_key_of_every_type_is_passed_on_in_order() {
    for kind in [
        "request",
        "response",
        "error",
        "heartbeat",
        "register",
        "unregister",
        "stream_chunk",
        "stream_end",
    ] {
        for payload in [
            "{}",
            r#"{"z": 1, "method": 7, "message": {"colour": "red", "role": "", "timestamp": "soon"}, "a": [18446744073709551615, 1e-07]}"#,
        ] {
            let text = text(kind, payload);
            for format in [Format::Json, Format::MessagePack] {
                assert_eq!(passed_on(&text, format), text);
            }
        }
    }
}

#[test]
fn an_envelope_without_a_time_is_passed_on_without_a_time() {
    let text = r#"{"version": "1.0", "type": "stream_end", "id": "7", "payload": {}}"#;
    assert_eq!(passed_on(text, Format::Json), text);
}

#[test]
fn what_is_no_envelope_is_refused_as_ever() {
    for text in [
        "[]".to_owned(),
        text("request", "[]"),
        text("request", "null"),
        text("dance", "{}"),
        r#"{"version": "2.0", "type": "request", "id": "7", "payload": {}}"#.to_owned(),
        r#"{"version": "1.0", "type": "request", "id": "7"}"#.to_owned(),
        r#"{"version": "1.0", "type": "request", "payload": {}}"#.to_owned(),
    ] {
        let raw = Format::Json.decode_raw(text.as_bytes()).expect_err(&text);
        assert!(raw.to_wire_error().code.as_str().len() > 1, "{text}");
    }
}
