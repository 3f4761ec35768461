//! Encoding and decoding of one envelope, beside serde_json on an equivalent plain struct.

#![allow(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]
#![allow(clippy::expect_used, reason = "a bench may stop at the first surprise")]

use std::{collections::BTreeMap, hint::black_box};

use agentwire_codec::{Call, Envelope, Format, Map, Message, Request, RequestId, Value};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};

/// What a program without this library would write.
#[derive(Serialize, Deserialize)]
struct PlainEnvelope {
    version: String,
    r#type: String,
    id: String,
    timestamp: String,
    payload: PlainPayload,
}

#[derive(Serialize, Deserialize)]
struct PlainPayload {
    method: String,
    agent_name: String,
    message: PlainMessage,
}

#[derive(Serialize, Deserialize)]
struct PlainMessage {
    role: String,
    content: serde_json::Value,
    metadata: BTreeMap<String, serde_json::Value>,
    timestamp: String,
}

fn messages() -> Vec<(&'static str, Message)> {
    let nested = |i: i64| Map::from([("value", Value::from(i)), ("unit", Value::from("°C"))]);
    let mut wide = Message::user("wide");
    wide.metadata = (0..200).map(|i| (format!("key {i}"), nested(i))).collect();
    vec![
        (
            "request",
            Message::user("What is the weather in Oslo today?").with_metadata("trace", "abc123"),
        ),
        (
            "text_1KiB",
            Message::user("a line of plain text. ".repeat(47)),
        ),
        (
            "text_1MiB",
            Message::user("a line of plain text. ".repeat(47_663)),
        ),
        (
            "text_1MiB_cyrillic",
            Message::user("строка ".repeat(80_659)),
        ),
        ("metadata_200_keys", wide),
    ]
}

fn codec(criterion: &mut Criterion) {
    for (name, message) in messages() {
        let request = Request::Process(Call::new("weather", message));
        let envelope = Envelope::new(RequestId::random(), request);
        let mut text = BytesMut::new();
        Format::Json
            .encode(&envelope, &mut text)
            .expect("a valid envelope");
        let plain: PlainEnvelope = serde_json::from_slice(&text).expect("a plain envelope");

        let mut group = criterion.benchmark_group(format!("json/{name}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        let mut buffer = BytesMut::with_capacity(2 * text.len());
        group.bench_function("encode/agentwire", |bencher| {
            bencher.iter(|| {
                buffer.clear();
                Format::Json
                    .encode(black_box(&envelope), &mut buffer)
                    .expect("a valid envelope");
            });
        });
        let mut buffer = Vec::with_capacity(2 * text.len());
        group.bench_function("encode/serde_json", |bencher| {
            bencher.iter(|| {
                buffer.clear();
                serde_json::to_writer(&mut buffer, black_box(&plain)).expect("a valid envelope");
            });
        });
        group.bench_function("decode/agentwire", |bencher| {
            bencher.iter(|| Format::Json.decode(black_box(&text)).expect("an envelope"));
        });
        group.bench_function("decode/serde_json", |bencher| {
            bencher.iter(|| {
                serde_json::from_slice::<PlainEnvelope>(black_box(&text)).expect("an envelope")
            });
        });
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
