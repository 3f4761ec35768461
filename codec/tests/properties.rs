//! Properties of all values, all envelopes, and all sequences of bytes.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use agentwire_codec::{
    Body, Call, DecodeError, EncodeError, Envelope, EnvelopeCodec, Execute, Format, FrameCodec,
    FrameError, FrameLimits, Heartbeat, Integer, Map, Message, Register, Request, RequestId,
    Response, SentAt, Timestamp, ToJsonError, ToolResult, Unregister, Value, WireError, from_value,
    json, msgpack, put_frame, to_value,
};
use bytes::BytesMut;
use proptest::{collection::vec, option, prelude::*, sample::Index};
use tokio_util::codec::Decoder;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any text, including the characters that JSON treats specially.
fn text() -> impl Strategy<Value = String> {
    let special =
        prop::sample::select(&['"', '\\', '/', '\0', '\n', '\u{7f}', '\u{feff}', '🦀'][..]);
    let character = prop_oneof![any::<char>(), proptest::char::range(' ', '~'), special];
    vec(character, 0..40).prop_map(String::from_iter)
}

/// Integers around the limits of 64 and 128 bits.
fn integer() -> impl Strategy<Value = Integer> {
    prop_oneof![
        any::<i64>().prop_map(Integer::from),
        any::<u64>().prop_map(Integer::from),
        any::<i128>().prop_map(Integer::from),
        any::<u128>().prop_map(Integer::from),
        "-?[1-9][0-9]{0,80}".prop_map(|digits| Integer::from_decimal(&digits).expect("digits")),
    ]
}

/// Floats of any bit pattern, and floats that occur in practice.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i32>().prop_map(|eighths| f64::from(eighths) / 8.0),
        (1..100_u32, -30..30_i32).prop_map(|(digits, exponent)| {
            format!("{digits}e{exponent}").parse().expect("a float")
        }),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        integer().prop_map(Value::from),
        float().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((text(), inner), 0..6).prop_map(|entries| Value::from(Map::from_iter(entries))),
        ]
    })
}

fn map() -> BoxedStrategy<Map> {
    vec((text(), value()), 0..4)
        .prop_map(Map::from_iter)
        .boxed()
}

/// A timestamp as Python writes it, with any offset.
fn written_time() -> impl Strategy<Value = String> {
    let date = (1..=9999_u16, 1..=12_u8, 1..=28_u8);
    let clock = (0..24_u8, 0..60_u8, 0..60_u8, option::of(1..1_000_000_u32));
    let offset = option::of((any::<bool>(), 0..24_u8, 0..60_u8, option::of(1..60_u8)));
    (date, clock, offset).prop_map(|((y, mo, d), (h, mi, s, micros), offset)| {
        let mut text = format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}");
        text += &micros.map_or_else(String::new, |micros| format!(".{micros:06}"));
        if let Some((west, h, mi, s)) = offset {
            let sign = if west && (h, mi, s) != (0, 0, None) {
                '-'
            } else {
                '+'
            };
            text += &format!("{sign}{h:02}:{mi:02}");
            text += &s.map_or_else(String::new, |s| format!(":{s:02}"));
        }
        text
    })
}

fn message() -> impl Strategy<Value = Message> {
    let role = text().prop_filter("a role is not empty", |role| !role.is_empty());
    (role, value(), map(), written_time()).prop_map(|(role, content, metadata, time)| {
        let time: Timestamp = time.parse().expect("a time");
        let mut message = Message::new(role, content).with_timestamp(time);
        message.metadata = metadata;
        message
    })
}

fn tool_result() -> impl Strategy<Value = ToolResult> {
    (any::<bool>(), value(), option::of("[a-z]{1,9}"), map()).prop_map(
        |(success, data, error, metadata)| {
            let mut result = match error {
                None => ToolResult::success(data),
                Some(error) => {
                    let mut result = ToolResult::failure(error);
                    (result.success, result.data) = (success, data);
                    result
                }
            };
            result.metadata = metadata;
            result
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let call = || (text(), message()).prop_map(|(name, message)| Call::new(name, message));
    let unknown = option::of("[A-Z]{0,9}");
    prop_oneof![
        call().prop_map(Request::Process),
        call().prop_map(Request::Stream),
        ("[a-z]{1,9}", map())
            .prop_map(|(tool, kwargs)| Request::Execute(Execute::new(tool, kwargs))),
        (map(), unknown).prop_map(|(mut payload, method)| {
            payload.remove("method");
            if let Some(method) = method {
                payload.insert("method", method);
            }
            Request::Other(payload)
        }),
    ]
}

fn optional_texts() -> impl Strategy<Value = (Option<String>, Option<String>)> {
    (option::of(text()), option::of(text()))
}

/// Boxed, because the strategy is too large for the stack of a test thread.
fn body() -> BoxedStrategy<Body> {
    let bodies = prop_oneof![
        request().prop_map(Body::from),
        message().prop_map(|message| Response::Message(message).into()),
        tool_result().prop_map(|result| Response::Tool(result).into()),
        (text(), text(), map()).prop_map(|(code, message, details)| {
            WireError::new(code, message).with_details(details).into()
        }),
        map().prop_map(|mut payload| {
            payload.remove("message");
            payload.remove("result");
            Response::Other(payload).into()
        }),
        (text(), text(), optional_texts()).prop_map(|(name, status, more)| {
            let mut heartbeat = Heartbeat::healthy(name);
            heartbeat.status = status;
            (heartbeat.endpoint, heartbeat.instance) = more;
            heartbeat.owner = heartbeat.instance.clone();
            heartbeat.into()
        }),
        (text(), map(), text(), map(), optional_texts()).prop_map(
            |(name, capabilities, endpoint, metadata, more)| {
                let mut register = Register::new(name, endpoint);
                (register.capabilities, register.metadata) = (capabilities, metadata);
                (register.version, register.instance) = more;
                register.owner = register.version.clone();
                register.machine = register.instance.clone();
                register.into()
            }
        ),
        (option::of(text()), optional_texts()).prop_map(|(name, more)| {
            let mut unregister = Unregister::new("");
            unregister.agent_name = name;
            (unregister.endpoint, unregister.instance) = more;
            unregister.owner = unregister.endpoint.clone();
            unregister.into()
        }),
        message().prop_map(Body::StreamChunk),
        Just(Body::StreamEnd),
    ];
    bodies.boxed()
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let id = prop_oneof![
        Just(()).prop_map(|()| RequestId::random()),
        text().prop_map(|id| RequestId::from(id.as_str())),
    ];
    let sent_at = option::of(prop_oneof![written_time(), text()]);
    (id, sent_at, body()).prop_map(|(id, sent_at, body)| {
        let mut envelope = Envelope::new(id, body);
        envelope.timestamp = sent_at.map(|time| SentAt::from(time.as_str()));
        envelope
    })
}

fn encode(envelope: &Envelope) -> Vec<u8> {
    let mut buffer = Vec::new();
    Format::Json
        .encode(envelope, &mut buffer)
        .expect("an envelope that can be written");
    buffer
}

fn write(value: &Value) -> Vec<u8> {
    let mut buffer = Vec::new();
    json::write(value, &mut buffer).expect("a value that can be written");
    buffer
}

/// Fragments of JSON and of envelopes, which reach deeper into the parser than random bytes do.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let pieces = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        " ",
        "-",
        "0",
        "1.5",
        "1e999",
        "null",
        "true",
        "NaN",
        "-Infinity",
        "\\ud83e",
        "\\udd80",
        "\"\"",
        "\"id\":",
        "\"version\":\"1.0\"",
        "\"type\":",
        "\"request\"",
        "\"response\"",
        "\"payload\":",
        "{\"method\":\"process\"",
        "\"message\":",
        "\"role\":",
        "\"user\"",
        "\"content\":",
        "\"timestamp\":",
        "é",
        "\u{0}",
    ][..];
    vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat().into_bytes())
}

/// An envelope in which some bytes are changed, removed or repeated.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<Index>(), any::<Index>(), 0..4_u8, any::<u8>());
    (envelope(), vec(edit, 1..4)).prop_map(|(envelope, edits)| {
        let mut bytes = encode(&envelope).to_vec();
        for (from, to, kind, byte) in edits {
            let (a, b) = (from.index(bytes.len() + 1), to.index(bytes.len() + 1));
            let range = a.min(b)..a.max(b);
            match kind {
                0 => drop(bytes.drain(range)),
                1 => bytes.extend_from_within(range),
                2 => bytes.insert(a, byte),
                _ => bytes.iter_mut().skip(a).take(1).for_each(|old| *old = byte),
            }
        }
        bytes
    })
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..200), soup(), damaged()]
}

/// Returns the parts of an item that can be compared, which are all that a user can see.
fn outcome(
    item: Result<Envelope, DecodeError>,
) -> Result<Envelope, (Option<RequestId>, WireError)> {
    item.map_err(|error| (error.id().cloned(), error.to_wire_error()))
}

/// Decodes a stream that arrives in these pieces; returns its items and how it ends.
fn drain<D: Decoder<Error = FrameError>>(
    mut decoder: D,
    pieces: &[&[u8]],
) -> (Vec<D::Item>, Result<(), String>) {
    let (mut buffer, mut items) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error.to_string())),
            }
        }
    }
    loop {
        match decoder.decode_eof(&mut buffer) {
            Ok(Some(item)) => items.push(item),
            Ok(None) => return (items, Ok(())),
            Err(error) => return (items, Err(error.to_string())),
        }
    }
}

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

/// Asserts that a value that took `len` bytes in a payload can be sent in a frame that has room for
/// a value of that size, and that it does not change.
fn assert_fits(format: Format, value: &Value, len: usize) {
    let envelope = |value: &Value| {
        let payload = Map::from([("value", value.clone())]);
        let mut envelope = Envelope::new(RequestId::from("7"), Response::Other(payload));
        envelope.timestamp = None;
        envelope
    };
    let mut frame = Vec::new();
    let null_len = match format {
        Format::Json => 4,
        _ => 1,
    };
    // The compact form of the envelope without the value.
    let empty = (0..).find(|limit| {
        format
            .put_frame(&envelope(&Value::Null), *limit, &mut Vec::new())
            .is_ok()
    });
    let limit = empty.unwrap() - null_len + len;
    format
        .put_frame(&envelope(value), limit, &mut frame)
        .unwrap_or_else(|error| panic!("{value}: {error}"));
    let read = format.decode(&frame[4..]).unwrap();
    // NaN is not equal to itself.
    assert_eq!(format!("{read:?}"), format!("{:?}", envelope(value)));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_value_round_trips(value in value()) {
        let written = write(&value);
        prop_assert!(written.iter().all(|byte| (b' '..=b'~').contains(byte)));
        let read = json::from_slice(&written).unwrap();
        prop_assert_eq!(write(&read), written);
        prop_assert_eq!(read, value);
    }

    #[test]
    fn a_value_that_was_received_fits_into_a_frame_of_the_same_size(value in value()) {
        // Another writer may use UTF-8, no white space, and other notations of numbers.
        let utf8 = serde_json::to_vec(&value).ok().filter(|text| json::from_slice(text).is_ok());
        for payload in [Some(write(&value)), utf8].into_iter().flatten() {
            let received = json::from_slice(&payload).unwrap();
            assert_fits(Format::Json, &received, payload.len());
        }
    }

    #[test]
    fn a_number_that_was_received_fits_into_a_frame_of_the_same_size(
        number in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        single in any::<f32>(),
    ) {
        let received = json::from_slice(number.as_bytes()).unwrap();
        assert_fits(Format::Json, &received, number.len());
        let mut payload = vec![0xca];
        payload.extend(single.to_be_bytes());
        let received = msgpack::from_slice(&payload).unwrap();
        assert_fits(Format::MessagePack, &received, payload.len());
    }

    #[test]
    fn an_envelope_round_trips(envelope in envelope()) {
        let written = encode(&envelope);
        let read = Format::Json.decode(&written).unwrap();
        prop_assert_eq!(encode(&read), written);
        prop_assert_eq!(read, envelope);
    }

    #[test]
    fn an_envelope_round_trips_through_messagepack_unless_an_integer_is_too_large(
        envelope in envelope(),
    ) {
        let mut written = Vec::new();
        match Format::MessagePack.encode(&envelope, &mut written) {
            Ok(()) => {
                prop_assert_eq!(Format::detect(&written), Format::MessagePack);
                prop_assert_eq!(Format::MessagePack.decode(&written).unwrap(), envelope);
                let value = Format::MessagePack.decode_value(&written).unwrap();
                let mut again = Vec::new();
                msgpack::write(&value, &mut again).unwrap();
                prop_assert_eq!(again, written);
            }
            Err(error) => prop_assert!(matches!(error, EncodeError::IntegerTooLarge), "{}", error),
        }
    }

    #[test]
    fn no_bytes_make_the_messagepack_reader_panic(bytes in any::<Vec<u8>>(), map in 0x80_u8..0x90) {
        let bytes = [&[map][..], &bytes].concat();
        if let Ok(value) = msgpack::from_slice(&bytes) {
            let mut written = Vec::new();
            msgpack::write(&value, &mut written).unwrap();
            prop_assert_eq!(msgpack::from_slice(&written).unwrap(), value);
        }
        let _ = Format::MessagePack.decode(&bytes);
    }

    #[test]
    fn an_envelope_decoded_as_a_value_is_encoded_alike(envelope in envelope()) {
        let written = encode(&envelope);
        let value = Format::Json.decode_value(&written).unwrap();
        prop_assert_eq!(write(&value), written);
    }

    #[test]
    fn a_timestamp_written_by_python_round_trips(written in written_time()) {
        let time: Timestamp = written.parse().unwrap();
        prop_assert_eq!(time.to_string(), &written[..]);
        prop_assert_eq!(time.to_system_time().is_some(), time.offset_seconds().is_some());
        if let (Some(instant), Some(0)) = (time.to_system_time(), time.offset_seconds()) {
            prop_assert_eq!(Timestamp::from_system_time(instant), time);
        }
    }

    #[test]
    fn any_accepted_timestamp_round_trips(
        text in prop_oneof![text(), "[0-9]{4}-?W?[0-9]{2}-?[0-9]{0,2}[T ]?[0-9:.,]{0,12}[Z+-]?[0-9:.]{0,9}"],
    ) {
        if let Ok(time) = text.parse::<Timestamp>() {
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }

    #[test]
    fn a_stream_yields_the_same_envelopes_however_it_is_cut(
        payloads in vec(prop_oneof![envelope().prop_map(Ok), any_bytes().prop_map(Err)], 0..6),
        lost in any::<Index>(),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let mut stream = Vec::new();
        for payload in &payloads {
            put_frame::<FrameError>(&mut stream, usize::MAX, |buffer| {
                match payload {
                    Ok(envelope) => buffer.extend_from_slice(&encode(envelope)),
                    Err(bytes) => buffer.extend_from_slice(bytes),
                }
                Ok(())
            }).unwrap();
        }
        for len in [stream.len(), lost.index(stream.len() + 1)] {
            let bytes = &stream[..len];
            let (items, end) = drain(EnvelopeCodec::default(), &cut(bytes, &cuts));
            let (frames, same_end) = drain(FrameCodec::default(), &[bytes]);
            prop_assert_eq!(items.len(), frames.len());
            prop_assert_eq!(&end, &same_end);
            if len == stream.len() {
                prop_assert_eq!((items.len(), end), (payloads.len(), Ok(())));
            }
            for (item, payload) in items.into_iter().zip(&payloads) {
                match (outcome(item), payload) {
                    (item, Ok(envelope)) => prop_assert_eq!(item.as_ref(), Ok(envelope)),
                    (Err(fault), Err(bytes)) => {
                        prop_assert_eq!(Err(fault), outcome(Format::Json.decode(bytes)));
                    }
                    // The payload may hold a message without a timestamp, which gets the time of
                    // decoding.
                    (Ok(_), Err(bytes)) => prop_assert!(Format::Json.decode(bytes).is_ok()),
                }
            }
        }
    }

    #[test]
    fn any_bytes_yield_the_same_frames_and_the_same_end_however_they_are_cut(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..100),
            vec(vec(any::<u8>(), 0..9), 0..9).prop_map(|frames| {
                frames.iter().flat_map(|f| [&[0, 0, 0, f.len() as u8], &f[..]].concat()).collect()
            }),
        ],
        limit in 0..12_usize,
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let codec = FrameCodec::new(FrameLimits::default().receive(limit));
        let whole = drain(codec, &[&bytes]);
        prop_assert!(whole.0.iter().all(|payload| payload.len() <= limit));
        prop_assert_eq!(drain(codec, &cut(&bytes, &cuts)), whole);
    }

    #[test]
    fn no_bytes_make_the_json_reader_panic_and_accepted_input_can_be_encoded(bytes in any_bytes()) {
        match Format::Json.decode(&bytes) {
            Ok(envelope) => {
                let written = encode(&envelope);
                prop_assert_eq!(Format::Json.decode(&written).unwrap(), envelope);
                prop_assert!(Format::Json.decode_value(&bytes).is_ok());
            }
            Err(error) => {
                let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
                encode(&Envelope::new(id, error.to_wire_error()));
            }
        }
        if let Ok(value) = json::from_slice(&bytes) {
            prop_assert_eq!(json::from_slice(&write(&value)).unwrap(), value);
        }
    }

    #[test]
    fn no_bytes_make_a_codec_panic(bytes in any_bytes()) {
        let limits = FrameLimits::default();
        let (frames, end) = drain(FrameCodec::new(limits), &[&bytes]);
        let (envelopes, same_end) = drain(EnvelopeCodec::new(Format::Json, limits), &[&bytes]);
        prop_assert_eq!(frames.len(), envelopes.len());
        prop_assert_eq!(end, same_end);
    }

    #[test]
    fn serde_json_agrees_with_this_codec(value in value()) {
        match serde_json::Value::try_from(value.clone()) {
            Ok(json) => {
                let text = serde_json::to_vec(&json).unwrap();
                prop_assert_eq!(Value::from(json.clone()), json::from_slice(&text).unwrap());
                prop_assert_eq!(&serde_json::Value::try_from(Value::from(json.clone())).unwrap(), &json);
                prop_assert_eq!(&serde_json::to_value(&value).unwrap(), &json);
            }
            Err(ToJsonError::Float(word)) => {
                prop_assert!(["NaN", "Infinity", "-Infinity"].contains(&&*word), "{}", word);
                prop_assert!(value.to_string().contains(&word));
            }
            Err(ToJsonError::Integer { digits }) => {
                prop_assert!(digits.parse::<i64>().is_err() && digits.parse::<u64>().is_err());
                prop_assert!(value.to_string().contains(&digits));
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_value_is_serialized_unless_an_integer_is_too_large_and_always_deserialized(
        value in value(),
    ) {
        match to_value(&value) {
            Ok(same) => prop_assert_eq!(same, value.clone()),
            Err(error) => {
                prop_assert!(error.to_string().contains("more than 128 bits"), "{}", error);
            }
        }
        prop_assert_eq!(from_value::<Value>(value.clone()).unwrap(), value);
    }

    #[test]
    fn a_map_behaves_like_an_ordered_list_of_entries(
        edits in vec(("[a-z]{1,2}", option::of(any::<i8>())), 0..120),
    ) {
        let (mut map, mut model) = (Map::new(), Vec::<(String, i8)>::new());
        for (key, edit) in edits {
            let place = model.iter().position(|(known, _)| *known == key);
            let old = match (edit, place) {
                (Some(new), Some(place)) => Some(std::mem::replace(&mut model[place].1, new)),
                (Some(new), None) => {
                    model.push((key.clone(), new));
                    None
                }
                (None, Some(place)) => Some(model.remove(place).1),
                (None, None) => None,
            };
            let found = match edit {
                Some(new) => map.insert(&*key, new),
                None => map.remove(&key),
            };
            prop_assert_eq!(found, old.map(Value::from));
        }
        prop_assert_eq!(map, Map::from_iter(model));
    }
}
