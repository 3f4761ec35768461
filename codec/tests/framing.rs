//! Decodes streams of frames that are cut or ended at every byte.
//!
//! The reads are scripted and never wait, so these tests need neither a runtime nor a clock.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use agentwire_codec::{
    Body, Call, DecodeError, EncodeError, Envelope, EnvelopeCodec, ErrorCode, Format, FrameCodec,
    FrameError, FrameLimits, HEADER_LEN, Heartbeat, Message, Request, RequestId, put_frame,
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::codec::{Decoder, Encoder, FramedRead, FramedWrite};

/// Yields one piece per read and is pending between reads.
struct Script {
    pieces: VecDeque<io::Result<Vec<u8>>>,
    ready: bool,
}

impl Script {
    fn new<P: AsRef<[u8]>>(pieces: impl IntoIterator<Item = P>) -> Self {
        Self {
            // An empty read would be the end of the stream.
            pieces: pieces
                .into_iter()
                .filter(|piece| !piece.as_ref().is_empty())
                .map(|piece| Ok(piece.as_ref().to_vec()))
                .collect(),
            ready: false,
        }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ready = !self.ready;
        if !self.ready {
            return Poll::Pending;
        }
        match self.pieces.pop_front() {
            None => {}
            Some(Err(error)) => return Poll::Ready(Err(error)),
            Some(Ok(piece)) => {
                let (now, later) = piece.split_at(piece.len().min(buffer.remaining()));
                buffer.put_slice(now);
                if !later.is_empty() {
                    self.pieces.push_front(Ok(later.to_vec()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Decodes the whole script, up to the end of the stream.
fn read<D: Decoder>(script: Script, decoder: D) -> Vec<Result<D::Item, D::Error>> {
    let mut framed = FramedRead::new(script, decoder);
    let (mut items, mut polls) = (Vec::new(), 0);
    loop {
        match framed.next().now_or_never() {
            Some(Some(item)) => items.push(item),
            Some(None) => return items,
            None => polls += 1,
        }
        assert!(polls < 100_000, "the stream never ends");
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&len.to_be_bytes(), payload].concat()
}

fn payloads() -> Vec<Vec<u8>> {
    [&b"hello"[..], b"", b"\0\0\0\x02", &[0xff; 70], b"", b"!"]
        .map(<[u8]>::to_vec)
        .into()
}

/// Returns the stream and the boundaries of its frames.
fn stream(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut boundaries) = (Vec::new(), vec![0]);
    for payload in payloads {
        bytes.extend(frame(payload));
        boundaries.push(bytes.len());
    }
    (bytes, boundaries)
}

fn heartbeat(id: &str) -> Envelope {
    Envelope::new(RequestId::from(id), Heartbeat::healthy("echo"))
}

fn payload_of(envelope: &Envelope) -> Vec<u8> {
    let mut buffer = Vec::new();
    Format::Json.encode(envelope, &mut buffer).unwrap();
    buffer
}

/// Alternates valid and invalid payloads, each with its expected outcome.
fn conversation() -> Vec<(Vec<u8>, Result<Envelope, ErrorCode>)> {
    let [first, second, third] = ["1", "2", "3"].map(heartbeat);
    vec![
        (payload_of(&first), Ok(first)),
        (b"".to_vec(), Err(ErrorCode::MALFORMED_PAYLOAD)),
        (b"{\"id\": ".to_vec(), Err(ErrorCode::MALFORMED_PAYLOAD)),
        (payload_of(&second), Ok(second)),
        (b"[]".to_vec(), Err(ErrorCode::INVALID_MESSAGE)),
        (payload_of(&third), Ok(third)),
    ]
}

fn outcome(item: Result<Envelope, DecodeError>) -> Result<Envelope, ErrorCode> {
    item.map_err(|error| error.code())
}

#[test]
fn payloads_are_the_same_wherever_the_stream_is_cut() {
    let payloads = payloads();
    let (bytes, _) = stream(&payloads);
    let check = |pieces: Vec<&[u8]>| {
        let items: Vec<_> = read(Script::new(&pieces), FrameCodec::default())
            .into_iter()
            .map(|item| item.expect("a frame").to_vec())
            .collect();
        let lengths: Vec<_> = pieces.iter().map(|piece| piece.len()).collect();
        assert_eq!(items, payloads, "in pieces of {lengths:?}");
    };
    check(bytes.chunks(1).collect());
    for first in 0..=bytes.len() {
        for second in first..=bytes.len() {
            check(vec![
                &bytes[..first],
                &bytes[first..second],
                &bytes[second..],
            ]);
        }
    }
}

#[test]
fn envelopes_are_the_same_wherever_the_stream_is_cut_and_invalid_payloads_do_not_end_it() {
    let (payloads, expected): (Vec<_>, Vec<_>) = conversation().into_iter().unzip();
    let (bytes, _) = stream(&payloads);
    let check = |pieces: Vec<&[u8]>| {
        let items: Vec<_> = read(Script::new(pieces), EnvelopeCodec::default())
            .into_iter()
            .map(|item| outcome(item.expect("a frame")))
            .collect();
        assert_eq!(items, expected);
    };
    check(bytes.chunks(1).collect());
    for at in 0..=bytes.len() {
        check(vec![&bytes[..at], &bytes[at..]]);
    }
}

#[test]
fn a_stream_ends_cleanly_only_between_frames() {
    let payloads = payloads();
    let (bytes, boundaries) = stream(&payloads);
    for end in 0..=bytes.len() {
        let mut items = read(Script::new([&bytes[..end]]), FrameCodec::default());
        let whole = boundaries.iter().filter(|&&at| at <= end).count() - 1;
        let have = end - boundaries[whole];
        if have > 0 {
            let announced = if have < HEADER_LEN {
                0
            } else {
                payloads[whole].len()
            };
            match items.pop() {
                Some(Err(FrameError::Truncated { have: h, want })) => {
                    assert_eq!((h, want), (have, HEADER_LEN + announced), "end at {end}");
                }
                other => panic!("end at {end}: {other:?}"),
            }
        }
        let items: Vec<_> = items.into_iter().map(Result::unwrap).collect();
        assert_eq!(items, payloads[..whole], "end at {end}");
    }
}

#[test]
fn envelopes_before_a_broken_end_are_delivered() {
    let (payloads, expected): (Vec<_>, Vec<_>) = conversation().into_iter().unzip();
    let (bytes, boundaries) = stream(&payloads);
    for end in 0..=bytes.len() {
        let mut items = read(Script::new([&bytes[..end]]), EnvelopeCodec::default());
        let whole = boundaries.iter().filter(|&&at| at <= end).count() - 1;
        if end > boundaries[whole] {
            let last = items.pop();
            assert!(
                matches!(last, Some(Err(FrameError::Truncated { .. }))),
                "end at {end}: {last:?}"
            );
        }
        let items: Vec<_> = items
            .into_iter()
            .map(|item| outcome(item.unwrap()))
            .collect();
        assert_eq!(items, expected[..whole], "end at {end}");
    }
}

#[test]
fn a_length_over_the_limit_ends_the_stream_after_the_frames_before_it() {
    let limits = FrameLimits::default().receive(5);
    let bytes = [frame(b"12345"), frame(b"123456"), frame(b"1")].concat();
    for at in 0..=bytes.len() {
        let script = Script::new([&bytes[..at], &bytes[at..]]);
        match &read(script, FrameCodec::new(limits))[..] {
            [Ok(payload), Err(FrameError::TooLarge { len: 6, max: 5 })] => {
                assert_eq!(payload, &b"12345"[..]);
            }
            other => panic!("cut at {at}: {other:?}"),
        }
    }
}

#[test]
fn an_envelope_over_the_limit_is_refused_on_its_header() {
    let payload = payload_of(&heartbeat("1"));
    let exact = FrameLimits::default().receive(payload.len());
    let items = read(
        Script::new([frame(&payload)]),
        EnvelopeCodec::new(Format::Json, exact),
    );
    assert!(matches!(&items[..], [Ok(Ok(_))]), "{items:?}");

    let short = FrameLimits::default().receive(payload.len() - 1);
    let items = read(
        Script::new([&frame(&payload)[..HEADER_LEN]]),
        EnvelopeCodec::new(Format::Json, short),
    );
    assert!(
        matches!(&items[..], [Err(FrameError::TooLarge { len, max })]
            if *len == payload.len() && *max == payload.len() - 1),
        "{items:?}"
    );
}

#[test]
fn a_refused_length_allocates_nothing() {
    for len in [DEFAULT + 1, u32::MAX] {
        let mut buffer = BytesMut::from(&len.to_be_bytes()[..]);
        let before = buffer.capacity();
        let error = FrameCodec::default().decode(&mut buffer).unwrap_err();
        assert!(
            matches!(error, FrameError::TooLarge { len: l, max }
                if l == len as usize && max == DEFAULT as usize),
            "{error}"
        );
        assert_eq!(buffer.capacity(), before);
    }
}

const DEFAULT: u32 = 10 * 1024 * 1024;

#[test]
fn memory_is_proportional_to_the_bytes_that_arrived() {
    const STEP: usize = 16 * 1024;
    // Capacity for the first reads, independent of what has arrived.
    const AHEAD: usize = 128 * 1024;
    let mut buffer = BytesMut::from(&DEFAULT.to_be_bytes()[..]);
    let mut arrived = 0;
    while arrived < DEFAULT as usize {
        assert!(
            FrameCodec::default().decode(&mut buffer).unwrap().is_none(),
            "{arrived} bytes are no frame"
        );
        assert!(
            buffer.capacity() <= 4 * arrived + AHEAD,
            "{} bytes for {arrived}",
            buffer.capacity()
        );
        buffer.extend_from_slice(&[b' '; STEP]);
        arrived += STEP;
    }
    let payload = FrameCodec::default().decode(&mut buffer).unwrap();
    assert_eq!(payload.map(|payload| payload.len()), Some(DEFAULT as usize));
    assert!(buffer.is_empty());
}

#[test]
fn each_direction_has_its_own_limit() {
    let limits = FrameLimits::default().send(3).receive(7);
    assert_eq!((limits.max_send(), limits.max_receive()), (3, 7));
    let mut codec = FrameCodec::new(limits);
    let mut buffer = BytesMut::new();
    codec.encode(b"123", &mut buffer).unwrap();
    let error = codec.encode(b"1234", &mut buffer).unwrap_err();
    assert!(
        matches!(error, FrameError::TooLarge { len: 4, max: 3 }),
        "{error}"
    );
    assert_eq!(buffer, frame(b"123"), "the refused frame left nothing");

    let mut buffer = BytesMut::from(&frame(b"1234567")[..]);
    assert_eq!(
        codec.decode(&mut buffer).unwrap().as_deref(),
        Some(&b"1234567"[..])
    );
}

#[test]
fn limits_are_reduced_to_what_a_header_can_hold() {
    let limits = FrameLimits::default().send(usize::MAX).receive(usize::MAX);
    assert_eq!(limits.max_send(), u32::MAX as usize);
    assert_eq!(limits.max_receive(), u32::MAX as usize);
    let mut buffer = BytesMut::from(&u32::MAX.to_be_bytes()[..]);
    assert!(
        FrameCodec::new(limits)
            .decode(&mut buffer)
            .unwrap()
            .is_none()
    );
    assert!(buffer.capacity() <= 128 * 1024, "{}", buffer.capacity());
}

#[test]
fn a_frame_whose_payload_fails_leaves_the_buffer_unchanged() {
    let mut buffer = b"before".to_vec();
    let result = put_frame(&mut buffer, 100, |buffer| {
        buffer.extend_from_slice(b"half of it");
        Err::<(), _>(EncodeError::EmptyRole)
    });
    assert!(matches!(result, Err(EncodeError::EmptyRole)), "{result:?}");
    assert_eq!(&buffer[..], b"before");
}

#[test]
fn a_stream_yields_what_a_sink_was_fed() {
    let call = Call::new("weather", Message::user("Oslo?").with_metadata("n", 1));
    let sent = [
        Envelope::new(RequestId::random(), Request::Stream(call)),
        Envelope::new(RequestId::random(), Body::StreamEnd),
        heartbeat("3"),
    ];
    let mut sink = FramedWrite::new(Vec::new(), EnvelopeCodec::default());
    for envelope in &sent {
        sink.feed(envelope).now_or_never().unwrap().unwrap();
    }
    SinkExt::<&Envelope>::flush(&mut sink)
        .now_or_never()
        .unwrap()
        .unwrap();
    let received: Vec<_> = read(Script::new([sink.get_ref()]), EnvelopeCodec::default())
        .into_iter()
        .map(|item| item.unwrap().unwrap())
        .collect();
    assert_eq!(received, sent);
}

#[test]
fn a_sink_stays_usable_after_an_envelope_that_cannot_be_encoded() {
    let limits = FrameLimits::default().send(200);
    let codec = EnvelopeCodec::new(Format::Json, limits);
    let mut sink = FramedWrite::new(Vec::new(), codec);
    let long = Envelope::new(RequestId::random(), Heartbeat::healthy("x".repeat(200)));
    let error = sink.send(&long).now_or_never().unwrap().unwrap_err();
    assert!(
        matches!(
            error,
            EncodeError::Frame(FrameError::TooLarge { max: 200, .. })
        ),
        "{error}"
    );
    let short = heartbeat("1");
    sink.send(&short).now_or_never().unwrap().unwrap();
    assert_eq!(*sink.get_ref(), frame(&payload_of(&short)));
}

#[test]
fn a_read_error_is_distinct_from_a_truncated_stream() {
    let mut script = Script::new([frame(b"whole"), b"\0\0".to_vec()]);
    script
        .pieces
        .push_back(Err(io::ErrorKind::ConnectionReset.into()));
    match &read(script, FrameCodec::default())[..] {
        [Ok(payload), Err(FrameError::Io(error))] => {
            assert_eq!(payload, &Bytes::from_static(b"whole"));
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        other => panic!("{other:?}"),
    }
}
