//! Appends frames to a buffer and finds them again, independent of their payloads.

#![allow(
    missing_docs,
    reason = "criterion's macros generate undocumented functions"
)]
#![allow(
    clippy::expect_used,
    reason = "an unexpected result ends the benchmark"
)]

use std::hint::black_box;

use agentwire_codec::{
    DEFAULT_FRAME_LIMIT, FrameCodec, FrameError, FrameLimits, HEADER_LEN, peek_frame, put_frame,
};
use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio_util::codec::Decoder;

fn frame(criterion: &mut Criterion) {
    for (name, len) in [("300_B", 300), ("64_KiB", 64 * 1024)] {
        let payload = vec![b'x'; len];
        let mut frames = Vec::new();
        put_all(&mut frames, &payload);
        let mut group = criterion.benchmark_group(format!("frame/{FRAMES}_x_{name}"));
        group.throughput(Throughput::Elements(FRAMES as u64));
        group.bench_function("put_frame", |bencher| {
            let mut buffer = Vec::with_capacity(frames.len());
            bencher.iter(|| {
                buffer.clear();
                put_all(&mut buffer, black_box(&payload));
            });
        });
        group.bench_function("peek_frame", |bencher| {
            bencher.iter(|| peek_all(black_box(&frames)))
        });
        group.bench_function("FrameCodec", |bencher| {
            let incoming = || BytesMut::from(&frames[..]);
            bencher.iter_batched(incoming, decode_all, BatchSize::SmallInput);
        });
        group.finish();
    }
}

fn put_all(buffer: &mut Vec<u8>, payload: &[u8]) {
    for _ in 0..FRAMES {
        put_frame::<FrameError>(buffer, DEFAULT_FRAME_LIMIT, |buffer| {
            buffer.extend_from_slice(payload);
            Ok(())
        })
        .expect("a payload below the limit");
    }
}

fn peek_all(mut frames: &[u8]) -> usize {
    let mut bytes = 0;
    while let Some(len) = peek_frame(frames, DEFAULT_FRAME_LIMIT).expect("a frame") {
        bytes += len;
        frames = &frames[HEADER_LEN + len..];
    }
    bytes
}

fn decode_all(mut incoming: BytesMut) {
    let mut codec = FrameCodec::new(FrameLimits::default());
    while let Some(payload) = codec.decode(&mut incoming).expect("a frame") {
        black_box(payload);
    }
}

/// As many frames as one read from a busy connection returns.
const FRAMES: usize = 64;

criterion_group!(benches, frame);
criterion_main!(benches);
