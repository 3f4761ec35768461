//! Properties of all messages and of all sequences of bytes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use agentwire_codec::{
    Body, Call, Envelope, Execute, Integer, Map, Message as EnvelopeMessage,
    Request as EnvelopeRequest, RequestId, Response as EnvelopeResponse, Timestamp, Value,
    WireError,
};
use agentwire_proto::{Request, Response, Rpc, StreamChunk, Wire, decode};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any text. Many of the texts look like JSON.
fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(&['"', '\\', '/', '\0', '\n', '{', '[', '1', '🦀'][..]);
    let character = prop_oneof![any::<char>(), proptest::char::range(' ', '~'), special];
    let json = prop::sample::select(
        &[
            "null",
            "-1.5e3",
            " [1] ",
            "{\"a\": []}",
            "\"q\"",
            "\"\\ud800\"",
            "NaN",
            "007",
        ][..],
    );
    prop_oneof![
        vec(character, 0..40).prop_map(String::from_iter),
        json.prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i128>().prop_map(|number| Integer::from(number).into()),
        any::<u64>().prop_map(|bits| f64::from_bits(bits).into()),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((text(), inner), 0..5).prop_map(|entries| Value::from(Map::from_iter(entries))),
        ]
    })
}

/// Metadata in the order in which it is read.
fn texts() -> impl Strategy<Value = Map> {
    prop::collection::btree_map(text(), text(), 0..4).prop_map(Map::from_iter)
}

fn message() -> impl Strategy<Value = EnvelopeMessage> {
    let role = "[a-z]{1,9}|\u{1f980}";
    (role, value(), texts(), 0..4_000_000_000_u64).prop_map(|(role, content, metadata, seconds)| {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let mut message = EnvelopeMessage::new(role, content);
        message.metadata = metadata;
        message.with_timestamp(Timestamp::from_system_time(time))
    })
}

fn decoded<M: Wire>(payload: &[u8]) -> M {
    decode(payload, usize::MAX)
        .expect("a message that was written")
        .0
}

proptest! {
    #![proptest_config(config())]

    /// Content survives, whatever it is; so do metadata that are text.
    #[test]
    fn every_request_with_text_metadata_round_trips(
        id in text(), name in text(), message in message(), is_stream: bool,
    ) {
        let (rpc, body) = if is_stream {
            (Rpc::ProcessStream, EnvelopeRequest::Stream(Call::new(name, message)))
        } else {
            (Rpc::Process, EnvelopeRequest::Process(Call::new(name, message)))
        };
        let envelope = Envelope::new(RequestId::from(id), body);
        let request = Request::from_envelope(envelope.clone()).unwrap();
        let request: Request = decoded(&request.encode_to_vec());
        prop_assert_eq!(request.into_envelope(rpc).unwrap(), envelope);
    }

    #[test]
    fn every_tool_call_round_trips(tool in "[a-z]{1,9}", kwargs in vec((text(), value()), 0..4)) {
        let execute = Execute::new(tool, Map::from_iter(kwargs));
        let envelope = Envelope::new(RequestId::random(), EnvelopeRequest::Execute(execute));
        let request = Request::from_envelope(envelope.clone()).unwrap();
        let request: Request = decoded(&request.encode_to_vec());
        prop_assert_eq!(request.into_envelope(Rpc::Process).unwrap(), envelope);
    }

    #[test]
    fn every_answer_with_text_metadata_round_trips(
        message in message(), code in text(), text in text(), details in texts(),
    ) {
        let error = WireError::new(code, text).with_details(details);
        let response = EnvelopeResponse::Message(message.clone());
        for body in [Body::from(response), error.clone().into()] {
            let envelope = Envelope::new(RequestId::random(), body);
            let response = Response::from_envelope(envelope.clone()).unwrap();
            let response: Response = decoded(&response.encode_to_vec());
            prop_assert_eq!(response.into_envelope("process").unwrap(), envelope);
        }
        for body in [Body::StreamChunk(message), error.into(), Body::StreamEnd] {
            let envelope = Envelope::new(RequestId::random(), body);
            let chunk = StreamChunk::from_envelope(envelope.clone()).unwrap();
            let chunk: StreamChunk = decoded(&chunk.encode_to_vec());
            prop_assert_eq!(chunk.into_envelope().unwrap(), envelope);
        }
    }

    /// The values of other writers, which quote nothing, change once at most.
    #[test]
    fn a_content_that_was_read_is_written_so_that_it_reads_the_same(content in text()) {
        let message = agentwire_proto::Message {
            role: "user".to_owned(),
            content,
            ..Default::default()
        };
        let request = Request { messages: vec![message], ..Request::default() };
        let mut envelope = request.into_envelope(Rpc::Process).unwrap();
        envelope.timestamp = Some(agentwire_codec::SentAt::now());
        let again = Request::from_envelope(envelope.clone()).unwrap();
        prop_assert_eq!(again.into_envelope(Rpc::Process).unwrap(), envelope);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(payload in vec(any::<u8>(), 0..200)) {
        if let Ok((request, _)) = decode::<Request>(&payload, 1 << 20) {
            let _ = request.into_envelope(Rpc::Process);
        }
        if let Ok((response, _)) = decode::<Response>(&payload, 1 << 20) {
            let _ = response.into_envelope("execute");
        }
        if let Ok((chunk, _)) = decode::<StreamChunk>(&payload, 1 << 20) {
            let _ = chunk.into_envelope();
        }
    }
}
