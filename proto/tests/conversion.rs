//! The conversion of envelopes, case by case, with the texts that the Python adapter writes and
//! reads.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use agentwire_codec::{
    Body, Call, DecodeFault, EncodeError, Envelope, EnvelopeType, Execute, Heartbeat,
    Message as EnvelopeMessage, RawBody, Request as EnvelopeRequest, RequestId,
    Response as EnvelopeResponse, ToolResult as EnvelopeResult, Value, WireError, map, value,
};
use agentwire_proto::{
    ChunkType, Message, Request, Response, ResponseType, Rpc, StreamChunk, ToolCall, ToolResult,
    decode,
};
use prost::Message as _;

fn id() -> RequestId {
    RequestId::from("67e55044-10b1-426f-9247-bb680e5fe0c8")
}

fn request(body: EnvelopeRequest) -> Request {
    Request::from_envelope(Envelope::new(id(), body)).unwrap()
}

/// The content that is written for a value.
fn written(content: impl Into<Value>) -> String {
    let call = Call::new("echo", EnvelopeMessage::user(content));
    request(EnvelopeRequest::Process(call)).messages[0]
        .content
        .clone()
}

/// The value that is read from a content.
fn read(content: &str) -> Value {
    let message = Message {
        role: "user".to_owned(),
        content: content.to_owned(),
        ..Message::default()
    };
    let request = Request {
        messages: vec![message],
        ..Request::default()
    };
    match request.into_envelope(Rpc::Process).unwrap().body {
        Body::Request(EnvelopeRequest::Process(call)) => call.message.content,
        other => panic!("{other:?}"),
    }
}

#[test]
fn content_is_text_or_json() {
    for (content, text) in [
        (Value::from("hello"), "hello"),
        (Value::from(""), ""),
        (Value::from("caf\u{e9} \u{1f980}"), "caf\u{e9} \u{1f980}"),
        (Value::from("007"), "007"),
        (Value::Null, "null"),
        (Value::from(42), "42"),
        (Value::from(1.0), "1.0"),
        (Value::from(f64::NAN), "NaN"),
        (value!([1, {"a": true}]), r#"[1, {"a": true}]"#),
        // Text that is JSON has quotes.
        (Value::from("42"), r#""42""#),
        (Value::from(" null "), r#"" null ""#),
        (Value::from(r#"{"a": 1}"#), r#""{\"a\": 1}""#),
        (Value::from("\"q\""), r#""\"q\"""#),
    ] {
        assert_eq!(written(content.clone()), text);
        assert_eq!(read(text), content);
    }
}

#[test]
fn content_of_other_writers_is_read_as_python_reads_it() {
    for (text, content) in [
        ("42", Value::from(42)),
        ("null", Value::Null),
        ("1e400", Value::from(f64::INFINITY)),
        (" [1] ", value!([1])),
        (r#""q""#, Value::from("q")),
        ("[1", Value::from("[1")),
        ("True", Value::from("True")),
    ] {
        assert_eq!(read(text), content, "{text}");
    }
    // Values that no envelope can hold stay text.
    let deep = "[".repeat(300) + &"]".repeat(300);
    assert_eq!(read(&deep), Value::from(&*deep));
    assert_eq!(read(r#""\ud800""#), Value::from(r#""\ud800""#));
    for text in [&*deep, r#""\ud800""#] {
        assert_eq!(read(&written(text)), Value::from(text));
    }
}

#[test]
fn a_request_has_the_fields_of_the_envelope() {
    let message = EnvelopeMessage::user("hi")
        .with_metadata("text", "as it is")
        .with_metadata("number", 1.5)
        .with_metadata("flag", true)
        .with_metadata("nothing", ())
        .with_metadata("object", map! {"x": [1]});
    let mut envelope = Envelope::new(id(), EnvelopeRequest::Stream(Call::new("echo", message)));
    envelope.timestamp = Some("2026-11-29T06:00:00+00:00".into());
    let request = Request::from_envelope(envelope).unwrap();
    assert_eq!(request.version, "1.0");
    assert_eq!(request.id, "67e55044-10b1-426f-9247-bb680e5fe0c8");
    assert_eq!(request.timestamp, "2026-11-29T06:00:00+00:00");
    assert_eq!((&*request.method, &*request.agent_name), ("stream", "echo"));
    assert_eq!(request.tool_call, None);
    let message = &request.messages[0];
    assert_eq!((&*message.role, request.messages.len()), ("user", 1));
    let metadata: Vec<_> = message
        .metadata
        .iter()
        .map(|(key, text)| (&**key, &**text))
        .collect();
    assert_eq!(
        metadata,
        [
            ("flag", "true"),
            ("nothing", "null"),
            ("number", "1.5"),
            ("object", r#"{"x": [1]}"#),
            ("text", "as it is"),
        ]
    );
}

#[test]
fn the_procedure_decides_between_process_and_stream() {
    for method in ["", "process", "stream"] {
        let request = Request {
            method: method.to_owned(),
            ..Request::default()
        };
        let body = request.clone().into_envelope(Rpc::Process).unwrap().body;
        assert!(
            matches!(body, Body::Request(EnvelopeRequest::Process(_))),
            "{method}"
        );
        let body = request.into_envelope(Rpc::ProcessStream).unwrap().body;
        assert!(
            matches!(body, Body::Request(EnvelopeRequest::Stream(_))),
            "{method}"
        );
    }
}

#[test]
fn a_request_without_a_message_has_an_empty_one() {
    let body = Request::default().into_envelope(Rpc::Process).unwrap().body;
    let Body::Request(EnvelopeRequest::Process(call)) = body else {
        panic!("{body:?}");
    };
    assert_eq!(
        (&*call.message.role, call.message.text()),
        ("user", Some(""))
    );
}

#[test]
fn only_the_first_message_is_read() {
    let message = |role: &str| Message {
        role: role.to_owned(),
        ..Message::default()
    };
    let messages = vec![message("user"), message("")];
    let request = Request {
        messages,
        ..Request::default()
    };
    assert!(request.into_envelope(Rpc::Process).is_ok());
}

#[test]
fn a_tool_call_is_an_execute() {
    let execute = Execute::new("add", map! {"a": 1, "b": [2.0, null]});
    let written = request(EnvelopeRequest::Execute(execute.clone()));
    assert_eq!(written.method, "execute");
    let call = written.tool_call.clone().unwrap();
    assert_eq!(
        (&*call.name, &*call.arguments),
        ("add", r#"{"a": 1, "b": [2.0, null]}"#)
    );
    let read = written.into_envelope(Rpc::Process).unwrap();
    assert_eq!(read.body, EnvelopeRequest::Execute(execute).into());

    // As a person types it.
    let call = ToolCall {
        name: "now".to_owned(),
        ..ToolCall::default()
    };
    let typed = Request {
        tool_call: Some(call),
        ..Request::default()
    };
    let read = typed.into_envelope(Rpc::Process).unwrap();
    let expected = Execute::new("now", map! {});
    assert_eq!(read.body, EnvelopeRequest::Execute(expected).into());
}

#[test]
fn a_malformed_tool_call_is_refused_with_its_id() {
    for (name, arguments, reason) in [
        ("", "{}", "tool_name is missing"),
        ("add", "[1]", "arguments must be an object, not list"),
        ("add", "{", "arguments are not JSON"),
    ] {
        let call = ToolCall {
            name: name.to_owned(),
            arguments: arguments.to_owned(),
            ..ToolCall::default()
        };
        let request = Request {
            id: "7".to_owned(),
            method: "execute".to_owned(),
            tool_call: Some(call),
            ..Request::default()
        };
        let error = request.into_envelope(Rpc::Process).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.id(), Some(&RequestId::from("7")));
        assert_eq!(error.to_wire_error().code, "MALFORMED_PAYLOAD".into());
    }
}

#[test]
fn other_methods_and_notices_travel_as_tool_calls() {
    let payload = map! {"method": "find", "query": {"name": "echo"}};
    let bodies: [Body; 3] = [
        EnvelopeRequest::Other(payload).into(),
        EnvelopeRequest::Other(map! {"method": "describe"}).into(),
        Heartbeat::healthy("echo").into(),
    ];
    for body in bodies {
        let request = Request::from_envelope(Envelope::new(id(), body)).unwrap();
        let read = request.clone().into_envelope(Rpc::Process).unwrap();
        let again = Request::from_envelope(read.clone()).unwrap();
        assert_eq!(request, again, "{read:?}");
        assert!(!matches!(
            read.body,
            Body::Request(EnvelopeRequest::Process(_))
        ));
    }
}

#[test]
fn a_forwarded_request_has_the_form_of_its_own_type() {
    let call = Call::new("echo", EnvelopeMessage::user(value!({"a": 1})));
    let typed = Envelope::new(id(), EnvelopeRequest::Process(call));
    let mut payload = Vec::new();
    agentwire_codec::Format::Json
        .encode(&typed, &mut payload)
        .unwrap();
    let raw = agentwire_codec::Format::Json.decode_raw(&payload).unwrap();
    let expected = Request::from_envelope(typed.clone()).unwrap();
    let mut written = Request::from_envelope(raw).unwrap();
    written.timestamp.clone_from(&expected.timestamp);
    assert_eq!(written, expected);
}

#[test]
fn a_malformed_message_is_refused() {
    for (role, timestamp, reason) in [
        ("", "", "role is empty"),
        ("user", "yesterday", "not an ISO 8601 timestamp"),
    ] {
        let message = Message {
            role: role.to_owned(),
            timestamp: timestamp.to_owned(),
            ..Message::default()
        };
        let request = Request {
            messages: vec![message],
            ..Request::default()
        };
        let error = request.into_envelope(Rpc::Process).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(error.to_wire_error().details.contains_key("data"));
    }
}

#[test]
fn timestamps_of_go_are_read() {
    let message = Message {
        role: "agent".to_owned(),
        timestamp: "2026-11-29T06:00:00.123456789Z".to_owned(),
        ..Message::default()
    };
    let mut response = Response {
        message: Some(message),
        ..Response::default()
    };
    response.set_type(ResponseType::Message);
    let body = response.into_envelope("process").unwrap().body;
    let Body::Response(EnvelopeResponse::Message(message)) = body else {
        panic!("{body:?}");
    };
    assert_eq!(
        message.timestamp.to_string(),
        "2026-11-29T06:00:00.123456+00:00"
    );
}

#[test]
fn answers_have_the_form_of_their_type() {
    let message = EnvelopeMessage::agent("hi");
    let result = EnvelopeResult::success("3").with_metadata("ms", 5);
    let failure = EnvelopeResult::failure("no such city");
    let error = WireError::new("AGENT_ERROR", "boom").with_details(map! {"left": 0});
    for (body, kind, method) in [
        (
            Body::from(EnvelopeResponse::Message(message)),
            ResponseType::Message,
            "process",
        ),
        (
            EnvelopeResponse::Tool(result).into(),
            ResponseType::ToolResult,
            "execute",
        ),
        (
            EnvelopeResponse::Tool(failure).into(),
            ResponseType::ToolResult,
            "execute",
        ),
        (
            EnvelopeResponse::Other(map! {"a": 1}).into(),
            ResponseType::ToolResult,
            "describe",
        ),
        (error.into(), ResponseType::Error, "process"),
    ] {
        let response = Response::from_envelope(Envelope::new(id(), body.clone())).unwrap();
        assert_eq!(response.r#type(), kind);
        let payload = response.encode_to_vec();
        let (read, memory) = decode::<Response>(&payload, usize::MAX).unwrap();
        assert!(memory >= payload.len());
        assert_eq!(read, response);
        let read = read.into_envelope(method).unwrap();
        assert_eq!(read.id, id());
        match (read.body, body) {
            // Metadata and details are text.
            (
                Body::Response(EnvelopeResponse::Tool(read)),
                Body::Response(EnvelopeResponse::Tool(result)),
            ) if result.success => {
                assert_eq!(
                    (read.data, &read.metadata["ms"]),
                    (result.data, &Value::from("5"))
                );
            }
            (Body::Error(read), Body::Error(error)) => assert_eq!(read, error),
            (read, body) => assert_eq!(read, body),
        }
    }
}

#[test]
fn a_forwarded_answer_has_the_form_of_its_own_type() {
    let message = value!({
        "role": "agent", "content": [1], "metadata": {}, "timestamp": "2026-11-29T06:00:00+00:00"
    });
    let raw = |kind, payload| Envelope::new(id(), RawBody::new(kind, payload));
    let envelope = raw(
        EnvelopeType::Response,
        map! {"message": message.clone(), "unknown": 1},
    );
    let response = Response::from_envelope(envelope).unwrap();
    assert_eq!(response.message.unwrap().content, "[1]");

    let result = map! {"result": {"success": true, "data": 1, "error": null, "metadata": {}}};
    let response = Response::from_envelope(raw(EnvelopeType::Response, result)).unwrap();
    assert_eq!(response.tool_result.unwrap().data, "1");

    let chunk =
        StreamChunk::from_envelope(raw(EnvelopeType::StreamChunk, map! {"message": message}));
    assert_eq!(chunk.unwrap().message.unwrap().content, "[1]");

    let error = map! {"error_code": "X", "error_message": "y", "error_details": {"reason": "z"}};
    let chunk = StreamChunk::from_envelope(raw(EnvelopeType::Error, error)).unwrap();
    let error = chunk.error.unwrap();
    assert_eq!(
        (&*error.code, &*error.message, &*error.details["reason"]),
        ("X", "y", "z")
    );
}

#[test]
fn a_malformed_forwarded_answer_becomes_an_error() {
    let raw = |kind, payload| Envelope::new(id(), RawBody::new(kind, payload));
    for payload in [
        map! {"message": "hello"},
        map! {"message": {"role": 1, "content": "hello"}},
        map! {"result": [1]},
        map! {"result": {"success": "perhaps"}},
    ] {
        let response = Response::from_envelope(raw(EnvelopeType::Response, payload)).unwrap();
        assert_eq!(response.r#type(), ResponseType::Error);
        let error = response.error.unwrap();
        assert_eq!(error.code, "INTERNAL_ERROR");
        assert_eq!(error.message, "The response of the agent is malformed");
    }
    for payload in [map! {}, map! {"message": 7}] {
        let chunk = StreamChunk::from_envelope(raw(EnvelopeType::StreamChunk, payload)).unwrap();
        assert!(chunk.is_last());
        assert_eq!(chunk.error.unwrap().code, "INTERNAL_ERROR");
    }
    // An error remains one, whatever its parts are.
    let error = map! {"error_code": 7, "error_details": "none"};
    let response = Response::from_envelope(raw(EnvelopeType::Error, error)).unwrap();
    let error = response.error.unwrap();
    assert_eq!((&*error.code, &*error.message), ("7", ""));
    assert!(error.details.is_empty());
}

#[test]
fn the_result_of_a_tool_follows_the_rules_of_its_method() {
    let response = |success, data: &str| {
        let mut response = Response {
            tool_result: Some(ToolResult {
                success,
                data: data.to_owned(),
                ..ToolResult::default()
            }),
            ..Response::default()
        };
        response.set_type(ResponseType::ToolResult);
        response
    };
    let error = response(false, "1").into_envelope("execute").unwrap_err();
    assert!(error.to_string().contains("has no error text"), "{error}");

    let error = response(true, "[1]").into_envelope("describe").unwrap_err();
    assert!(error.to_string().contains("must be an object"), "{error}");
    for data in ["", "null", "{}"] {
        let answer = response(true, data).into_envelope("describe").unwrap();
        assert_eq!(answer.body, EnvelopeResponse::Other(map! {}).into());
    }
}

#[test]
fn chunks_have_the_form_of_their_type() {
    let bodies = [
        (
            Body::StreamChunk(EnvelopeMessage::agent("hi")),
            ChunkType::Message,
            false,
        ),
        (Body::StreamEnd, ChunkType::End, true),
        (
            WireError::new("STREAM_ERROR", "boom").into(),
            ChunkType::Error,
            true,
        ),
    ];
    for (body, kind, is_last) in bodies {
        let chunk = StreamChunk::from_envelope(Envelope::new(id(), body.clone())).unwrap();
        assert_eq!((chunk.r#type(), chunk.is_last()), (kind, is_last));
        assert_eq!(chunk.into_envelope().unwrap().body, body);
    }
}

#[test]
fn an_answer_of_the_wrong_kind_becomes_an_error() {
    let message = EnvelopeMessage::agent("hi");
    let response = Envelope::new(id(), Body::StreamChunk(message.clone()));
    let response = Response::from_envelope(response).unwrap();
    assert_eq!(response.error.unwrap().code, "INVALID_MESSAGE");
    let chunk = Envelope::new(id(), EnvelopeResponse::Message(message));
    let chunk = StreamChunk::from_envelope(chunk).unwrap();
    assert_eq!(chunk.error.unwrap().code, "INVALID_MESSAGE");
}

#[test]
fn an_answer_without_its_content_is_malformed() {
    for kind in [
        ResponseType::Unspecified,
        ResponseType::Message,
        ResponseType::ToolResult,
    ] {
        let mut response = Response::default();
        response.set_type(kind);
        let error = response.into_envelope("process").unwrap_err();
        assert!(
            matches!(error.fault(), DecodeFault::Payload { .. }),
            "{error}"
        );
    }
    assert!(StreamChunk::default().into_envelope().is_err());
}

#[test]
fn envelopes_that_break_a_rule_are_not_written() {
    let error =
        |body: EnvelopeRequest| Request::from_envelope(Envelope::new(id(), body)).unwrap_err();
    let call = |message| EnvelopeRequest::Process(Call::new("echo", message));
    assert!(matches!(
        error(call(EnvelopeMessage::new("", "x"))),
        EncodeError::EmptyRole
    ));
    let bytes = Value::Bytes(b"x".to_vec().into());
    assert!(matches!(
        error(call(EnvelopeMessage::user(bytes))),
        EncodeError::BytesInJson
    ));
    let unnamed = EnvelopeRequest::Execute(Execute::new("", map! {}));
    assert!(matches!(error(unnamed), EncodeError::EmptyToolName));
    let mut failure = EnvelopeResult::failure("x");
    failure.error = None;
    let response = Envelope::new(id(), EnvelopeResponse::Tool(failure));
    let error = Response::from_envelope(response).unwrap_err();
    assert!(matches!(error, EncodeError::MissingToolError));
}

#[test]
fn debug_output_shows_no_content() {
    let call = Call::new("echo", EnvelopeMessage::user("secret"));
    let request = request(EnvelopeRequest::Process(call));
    assert_eq!(
        format!("{request:?} {:?}", request.messages[0]),
        "Request { .. } Message { .. }"
    );
}
