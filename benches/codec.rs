//! Encodes and decodes one envelope, beside serde_json and rmp-serde on an equivalent plain struct.
//!
//! The plain struct is the minimum that a program without this library would write. It validates
//! less and preserves less: its text is not escaped to ASCII, and its integers have 64 bits.

#![allow(
    missing_docs,
    reason = "criterion's macros generate undocumented functions"
)]
#![allow(
    clippy::expect_used,
    reason = "an unexpected result ends the benchmark"
)]

use std::{collections::BTreeMap, hint::black_box};

use agentwire_codec::{
    Call, Envelope, Format, Map, Message, Request, RequestId, SentAt, Timestamp, Value,
};
use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
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

/// Returns envelopes of typical shapes, by name.
fn envelopes() -> Vec<(&'static str, Envelope)> {
    let nested = |i: i64| Map::from([("value", Value::from(i)), ("unit", Value::from("celsius"))]);
    let mut wide = Message::user("wide");
    wide.metadata = (0..200).map(|i| (format!("key {i}"), nested(i))).collect();
    let line = "a line of plain text. ";
    let messages = vec![
        (
            "request",
            Message::user("What is the weather in San Francisco?"),
        ),
        ("text_1KiB", Message::user(line.repeat(1024 / line.len()))),
        (
            "text_1MiB",
            Message::user(line.repeat(1024 * 1024 / line.len())),
        ),
        (
            "text_1MiB_cyrillic",
            Message::user("строка ".repeat(1024 * 1024 / "строка ".len())),
        ),
        ("metadata_200_keys", wide),
    ];
    messages
        .into_iter()
        .map(|(name, mut message)| {
            let time: Timestamp = "2025-11-08T12:34:56.789012+00:00".parse().expect("a time");
            message.timestamp = time;
            let id = RequestId::from("67e55044-10b1-426f-9247-bb680e5fe0c8");
            let request = Request::Process(Call::new("weather", message));
            let mut envelope = Envelope::new(id, request);
            envelope.timestamp = Some(SentAt::from(time));
            (name, envelope)
        })
        .collect()
}

fn codec(criterion: &mut Criterion) {
    for (name, envelope) in envelopes() {
        for (format, label) in [(Format::Json, "json"), (Format::MessagePack, "msgpack")] {
            let mut payload = Vec::new();
            format
                .encode(&envelope, &mut payload)
                .expect("a valid envelope");
            let mut group = criterion.benchmark_group(format!("{label}/{name}"));
            group.throughput(Throughput::Bytes(payload.len() as u64));
            ours(&mut group, format, &envelope, &payload);
            match format {
                Format::Json => serde_json_peer(&mut group, &payload),
                _ => rmp_serde_peer(&mut group, &payload),
            }
            group.finish();
        }
    }
}

type Group<'a> = BenchmarkGroup<'a, WallTime>;

fn ours(group: &mut Group<'_>, format: Format, envelope: &Envelope, payload: &[u8]) {
    let mut buffer = Vec::with_capacity(2 * payload.len());
    group.bench_function("encode/agentwire", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            format
                .encode(black_box(envelope), &mut buffer)
                .expect("a valid envelope");
        });
    });
    group.bench_function("decode/agentwire", |bencher| {
        bencher.iter(|| format.decode(black_box(payload)).expect("an envelope"));
    });
}

fn serde_json_peer(group: &mut Group<'_>, payload: &[u8]) {
    let plain: PlainEnvelope = serde_json::from_slice(payload).expect("a plain envelope");
    let mut buffer = Vec::with_capacity(2 * payload.len());
    group.bench_function("encode/serde_json", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            serde_json::to_writer(&mut buffer, black_box(&plain)).expect("a valid envelope");
        });
    });
    group.bench_function("decode/serde_json", |bencher| {
        bencher.iter(|| {
            serde_json::from_slice::<PlainEnvelope>(black_box(payload)).expect("an envelope")
        });
    });
}

fn rmp_serde_peer(group: &mut Group<'_>, payload: &[u8]) {
    let plain: PlainEnvelope = rmp_serde::from_slice(payload).expect("a plain envelope");
    let mut buffer = Vec::with_capacity(2 * payload.len());
    group.bench_function("encode/rmp-serde", |bencher| {
        bencher.iter(|| {
            buffer.clear();
            rmp_serde::encode::write_named(&mut buffer, black_box(&plain))
                .expect("a valid envelope");
        });
    });
    group.bench_function("decode/rmp-serde", |bencher| {
        bencher.iter(|| {
            rmp_serde::from_slice::<PlainEnvelope>(black_box(payload)).expect("an envelope")
        });
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
