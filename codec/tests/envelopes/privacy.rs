//! Debug output of envelopes: `{:?}` shows their structure, `{:#?}` their content.

use agentwire_codec::{Map, Message, ToolResult};

use crate::fixtures::{decode, message, wire};

#[test]
fn debug_never_shows_the_owner_key_of_a_registration() {
    for kind in ["register", "heartbeat", "unregister"] {
        let envelope = decode(&wire(kind, r#"{"owner": "hunter2"}"#)).unwrap();
        for shown in [format!("{envelope:?}"), format!("{envelope:#?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}

#[test]
fn debug_shows_no_content_and_the_alternate_form_shows_it() {
    let secret = r#""hunter2""#;
    let message =
        format!(r#"{{"role": "user", "content": {secret}, "metadata": {{"k": {secret}}}}}"#);
    for (kind, payload) in [
        (
            "request",
            format!(r#"{{"method": "process", "message": {message}}}"#),
        ),
        (
            "request",
            format!(r#"{{"method": "dance", "message": {secret}}}"#),
        ),
        (
            "request",
            format!(r#"{{"method": "execute", "tool_name": "t", "kwargs": {{"k": {secret}}}}}"#),
        ),
        ("request", format!(r#"{{"method": {secret}}}"#)),
        ("response", format!(r#"{{"message": {message}}}"#)),
        (
            "response",
            format!(
                r#"{{"result": {{"success": true, "data": {secret}, "metadata": {{"k": {secret}}}}}}}"#
            ),
        ),
        (
            "response",
            format!(r#"{{"result": {{"success": false, "error": {secret}}}}}"#),
        ),
        ("response", format!(r#"{{"told": {secret}}}"#)),
        (
            "response",
            format!(r#"{{{secret}: [{{{secret}: {secret}}}]}}"#),
        ),
        ("stream_chunk", format!(r#"{{"message": {message}}}"#)),
        (
            "error",
            format!(r#"{{"error_code": "A", "error_details": {{"k": {secret}}}}}"#),
        ),
        (
            "register",
            format!(r#"{{"capabilities": {{"k": {secret}}}, "metadata": {{"k": {secret}}}}}"#),
        ),
    ] {
        let envelope = decode(&wire(kind, &payload)).unwrap();
        let outline = format!("{envelope:?}");
        assert!(!outline.contains("hunter2"), "{outline}");
        let content = format!("{envelope:#?}");
        assert!(content.contains("hunter2"), "{content}");
    }
    let malformed = format!(r#"{{"message": {{"role": "", "content": {secret}}}}}"#);
    let error = decode(&wire("stream_chunk", &malformed)).unwrap_err();
    let outline = format!("{error:?}");
    assert!(
        outline.contains("role is empty") && !outline.contains("hunter2"),
        "{outline}"
    );
}

#[test]
fn debug_of_two_messages_shows_the_field_that_differs() {
    let fields = |message: &Message| -> Vec<String> {
        let outline = format!("{message:?}");
        outline.split(", ").map(str::to_owned).collect()
    };
    let sent = message()
        .with_metadata("city", "Oslo")
        .with_metadata("n", 1);
    assert_eq!(fields(&sent), fields(&sent.clone()));

    let mut other = sent.clone();
    other.metadata.insert("city", "Rome");
    let (sent, other) = (fields(&sent), fields(&other));
    let differing: Vec<_> = sent.iter().zip(&other).filter(|(a, b)| a != b).collect();
    assert_eq!(differing.len(), 1, "{differing:?}");
    assert!(
        differing[0].0.starts_with("metadata: {city: text(4)#"),
        "{differing:?}"
    );
}

#[test]
fn debug_of_a_tool_result_and_of_iterators_shows_no_content() {
    let failure = ToolResult::failure("hunter2").with_metadata("k", "hunter2");
    let entries = Map::from([("hunter2", "hunter2")]);
    for outline in [
        format!("{failure:?}"),
        format!("{:?}", entries.iter()),
        format!("{:?}", entries.into_iter()),
    ] {
        assert!(!outline.contains("hunter2"), "{outline}");
    }
}
