//! Envelopes that cannot be encoded.

use agentwire_codec::{
    Body, Call, EncodeError, Execute, Format, FrameError, MAX_DEPTH, Map, Message, Request,
    Response, ToolResult, Value, WireError, put_frame,
};
use bytes::Bytes;

use crate::fixtures::envelope;

#[test]
fn an_envelope_that_cannot_be_encoded_leaves_the_buffer_unchanged() {
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
