//! Checks that decoding allocates in proportion to the input, whatever lengths the input announces,
//! and that refusing a value does not build it.
//!
//! This is a single test because the allocator counts for the whole process.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use agentwire_codec::{
    Call, Envelope, Format, Map, Message, Request, RequestId, Value, map, value,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes of memory per byte of payload in the worst case, as documented on the page of the crate.
const MULTIPLE: usize = 84;

/// Memory that a payload of any size may take: the space reserved at each level of nesting for
/// elements that have not arrived.
const CONSTANT: usize = 192 * 1024;

/// Decodes a payload in every way and returns the peak of allocated memory.
fn peak_of_reading(payload: &[u8]) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    for format in [Format::Json, Format::MessagePack] {
        // The result, or the error, is held while the memory is measured.
        let envelope = format.decode(payload);
        drop(envelope);
        let value = format.decode_value(payload);
        drop(value);
    }
    ALLOCATOR.peak_usage() - before
}

fn request(content: Value, metadata: Map) -> Envelope {
    let mut message = Message::user(content);
    message.metadata = metadata;
    Envelope::new(
        RequestId::random(),
        Request::Process(Call::new("a", message)),
    )
}

fn encoded(format: Format, envelope: &Envelope) -> Vec<u8> {
    let mut payload = Vec::new();
    format.encode(envelope, &mut payload).unwrap();
    payload
}

/// Returns the values that take the most memory per byte.
fn costly_values(count: usize) -> Vec<Value> {
    let repeated = |value: Value| Value::List(vec![value; count]);
    let mut nested = Value::Null;
    for _ in 0..200 {
        nested = vec![nested].into();
    }
    vec![
        repeated(0.into()),
        repeated(Value::Null),
        repeated(Value::List(Vec::new())),
        repeated(Value::Map(Map::new())),
        repeated(vec![0].into()),
        repeated("".into()),
        repeated("x".into()),
        repeated(Map::from([("", 0)]).into()),
        Value::List(vec![nested; count / 200]),
        Value::Map((0..count).map(|i| (format!("{i:x}"), 0)).collect()),
        "x".repeat(count).into(),
        "\u{1f980}".repeat(count).into(),
        u128::MAX.into(),
    ]
}

/// Returns payloads that announce more than they contain.
fn lies() -> Vec<Vec<u8>> {
    let heads: [&[u8]; 8] = [
        b"\x9f",
        b"\xdc\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x8f\xa0",
        b"\xde\xff\xff\xa0",
        b"\xdf\xff\xff\xff\xff\xa0",
        b"\xdd\0\0\x01\0",
        b"\xdf\0\0\x01\0\xa0",
    ];
    let nested = heads
        .iter()
        .flat_map(|head| [1, 10, 300, 3000].map(|times| head.repeat(times)));
    let texts: [&[u8]; 2] = [b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"];
    let padded = heads.iter().map(|head| {
        // Enough bytes to make the smaller announced lengths plausible.
        [head.repeat(200), vec![0xc0; 70_000]].concat()
    });
    nested
        .chain(padded)
        .chain(texts.map(<[u8]>::to_vec))
        .collect()
}

#[test]
fn decoding_allocates_in_proportion_to_the_input() {
    let mut payloads = lies();
    for value in costly_values(20_000) {
        for format in [Format::Json, Format::MessagePack] {
            let alone = request(value.clone(), Map::new());
            let aside = request(Value::Null, Map::from([("deep", value.clone())]));
            for envelope in [alone, aside] {
                if envelope_fits(format, &envelope) {
                    let payload = encoded(format, &envelope);
                    payloads.extend(refused_variants(format, &payload));
                    payloads.push(payload);
                }
            }
        }
    }
    let mut random = fastrand::Rng::with_seed(7);
    for len in [1, 10, 100, 1000, 10_000] {
        for _ in 0..50 {
            payloads.push(std::iter::repeat_with(|| random.u8(..)).take(len).collect());
        }
    }
    for payload in payloads {
        let peak = peak_of_reading(&payload);
        let limit = CONSTANT + MULTIPLE * payload.len();
        let start = payload[..payload.len().min(120)].escape_ascii();
        assert!(
            peak <= limit,
            "{peak} bytes for {} of {start}",
            payload.len()
        );
    }
    assert_refusals_are_small();
}

/// Memory that the refusal of a value of any size may take.
const REFUSAL: usize = 16 * 1024;

/// Returns envelopes that hold a list where text or an object must be.
fn refused_envelopes(list: &Value) -> Vec<Value> {
    let envelope = |key: &str, value: Value| {
        let mut envelope = map! {
            "version": "1.0",
            "type": "request",
            "id": "1",
            "timestamp": "now",
            "payload": {"method": "process", "message": {"role": "user", "content": null}},
        };
        envelope.insert(key, value);
        Value::from(envelope)
    };
    let message = |key: &str| {
        let mut message = map! {"role": "user", "content": null};
        message.insert(key, list.clone());
        envelope(
            "payload",
            value!({"method": "process", "message": (message)}),
        )
    };
    let outer =
        ["version", "type", "id", "timestamp", "payload"].map(|key| envelope(key, list.clone()));
    let inner = [
        value!({"method": "process", "agent_name": (list.clone()), "message": {"role": "user", "content": null}}),
        value!({"method": "process", "message": (list.clone())}),
        value!({"method": "execute", "tool_name": (list.clone())}),
        value!({"method": "execute", "tool_name": "t", "kwargs": (list.clone())}),
    ];
    let message = ["role", "metadata", "timestamp"].map(message);
    let inner = inner.map(|payload| envelope("payload", payload));
    let envelopes = outer.into_iter().chain(inner).chain(message);
    envelopes.chain([list.clone()]).collect()
}

fn assert_refusals_are_small() {
    let list: Value = vec![0; 1_000_000].into();
    for value in refused_envelopes(&list) {
        for format in [Format::Json, Format::MessagePack] {
            let mut payload = Vec::new();
            format.encode_value(&value, &mut payload).unwrap();
            let before = ALLOCATOR.current_usage();
            ALLOCATOR.reset_peak_usage();
            let refused = format.decode(&payload).map(|envelope| envelope.body);
            let answer = refused.as_ref().map_err(|error| error.to_wire_error());
            let peak = ALLOCATOR.peak_usage() - before;
            assert!(peak <= REFUSAL, "{peak} bytes for {answer:?}");
        }
    }
}

fn envelope_fits(format: Format, envelope: &Envelope) -> bool {
    format.encode(envelope, &mut Vec::new()).is_ok()
}

/// Returns the payload with an error near its beginning or its end, so that everything decoded
/// before the error is held while the error is created.
fn refused_variants(format: Format, payload: &[u8]) -> Vec<Vec<u8>> {
    let replaced = |from: &[u8], to: &[u8]| {
        let at = payload
            .windows(from.len())
            .position(|window| window == from);
        at.map(|at| [&payload[..at], to, &payload[at + from.len()..]].concat())
    };
    let role: (&[u8], &[u8]) = match format {
        Format::Json => (br#""role": "user""#, br#""role": 1     "#),
        _ => (b"\xa4user", b"\xa0"),
    };
    let method: (&[u8], &[u8]) = (b"process", b"perform");
    let kind: (&[u8], &[u8]) = (b"request", b"rewrite");
    [
        replaced(role.0, role.1),
        replaced(method.0, method.1),
        replaced(kind.0, kind.1),
        Some(payload[..payload.len() - 1].to_vec()),
        Some([payload, b"x"].concat()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
