//! Checks that any bytes, in any pieces, yield the same frames and the same end, and that memory is
//! proportional to the bytes that have arrived.
#![no_main]

use agentwire_codec::{FrameCodec, FrameError, FrameLimits, HEADER_LEN, put_frame};
use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

const LIMIT: usize = 1 << 20;

/// Decodes a stream that arrives in these pieces; returns its frames and the error that ends it.
fn read(pieces: &[&[u8]]) -> (Vec<Bytes>, Option<String>) {
    let mut codec = FrameCodec::new(FrameLimits::default().receive(LIMIT));
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    let mut received = 0;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        received += piece.len();
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
        assert!(
            buffer.capacity() <= 4 * received + 256 * 1024,
            "a header reserves too much"
        );
    }
    loop {
        match codec.decode_eof(&mut buffer) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error.to_string())),
        }
    }
}

/// Cuts the input at positions derived from its bytes, so that the input is nothing but the stream.
fn cut(bytes: &[u8]) -> Vec<&[u8]> {
    let mut state = bytes.iter().fold(bytes.len(), |sum, byte| {
        sum * 31 % 65_521 + usize::from(*byte)
    });
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() && pieces.len() < 64 {
        state = state * 75 % 65_537;
        let (piece, after) = rest.split_at(1 + state % rest.len().min(40));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

fuzz_target!(|bytes: &[u8]| {
    let pieces = cut(bytes);
    let whole = read(&[bytes]);
    assert_eq!(read(&pieces), whole);

    // The decoded frames, encoded again, are a prefix of the input.
    let mut written = Vec::new();
    for frame in &whole.0 {
        let put = put_frame(&mut written, LIMIT, |buffer| {
            buffer.extend_from_slice(frame);
            Ok::<_, FrameError>(())
        });
        assert!(put.is_ok() && written.len() >= HEADER_LEN);
    }
    assert!(bytes.starts_with(&written));
});
