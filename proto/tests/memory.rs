//! The memory of a message and of its envelope is at most what `decode` announces.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use agentwire_codec::DecodeFault;
use agentwire_proto::{
    ChunkType, Error, Message, Request, Response, ResponseType, Rpc, StreamChunk, Wire, decode,
};
use peak_alloc::PeakAlloc;
use prost::Message as _;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The allocator counts for the whole process, so the tests run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The payloads that take the most memory for their size.
fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let message = |content: String| Message {
        role: "user".to_owned(),
        content,
        ..Message::default()
    };
    let request = |message| Request {
        messages: vec![message],
        ..Request::default()
    };
    let metadata = |count: u32| Message {
        metadata: (0..count)
            .map(|key| (format!("{key:x}"), String::new()))
            .collect(),
        ..message(String::new())
    };
    vec![
        ("empty messages", [0x32, 0].repeat(100_000)),
        (
            "empty entries",
            [&[0x32, 0x80, 0x9a, 0x0c][..], &[0x1a, 0].repeat(100_000)].concat(),
        ),
        ("empty entries of the request", [0x3a, 0].repeat(100_000)),
        ("entries", request(metadata(50_000)).encode_to_vec()),
        (
            "numbers",
            request(message(format!("[{}0]", "0,".repeat(100_000)))).encode_to_vec(),
        ),
        (
            "lists",
            request(message(format!("[{}0]", "[0],".repeat(50_000)))).encode_to_vec(),
        ),
        (
            "text",
            request(message("x".repeat(1_000_000))).encode_to_vec(),
        ),
        (
            "broken JSON",
            request(message("[[[[0,".repeat(40))).encode_to_vec(),
        ),
    ]
}

#[test]
fn the_memory_of_a_message_is_bounded_before_it_is_decoded() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, payload) in payloads() {
        assert_bounded(name, &payload, |request: Request| {
            request.into_envelope(Rpc::Process)
        });
    }
}

#[test]
fn the_memory_of_the_details_of_an_error_is_bounded_before_they_are_decoded() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let lists = format!("[{}0]", "[0],".repeat(50_000));
    let error = Error {
        details: BTreeMap::from([("x".to_owned(), lists)]),
        ..Error::default()
    };
    let response = Response {
        r#type: ResponseType::Error.into(),
        error: Some(error.clone()),
        ..Response::default()
    };
    let chunk = StreamChunk {
        r#type: ChunkType::Error.into(),
        error: Some(error),
        ..StreamChunk::default()
    };
    assert_bounded(
        "response",
        &response.encode_to_vec(),
        |response: Response| response.into_envelope("process").unwrap(),
    );
    assert_bounded("chunk", &chunk.encode_to_vec(), |chunk: StreamChunk| {
        chunk.into_envelope().unwrap()
    });
}

/// Checks that a message and its envelope take at most the memory that `decode` returns, and that
/// `decode` refuses the message within less.
#[track_caller]
fn assert_bounded<M: Wire, E>(name: &str, payload: &[u8], into_envelope: impl Fn(M) -> E) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let (message, bound) = decode::<M>(payload, usize::MAX).unwrap();
    let envelope = into_envelope(message);
    let (held, peak) = (ALLOCATOR.current_usage(), ALLOCATOR.peak_usage());
    let held = held - before;
    assert!(held <= bound, "{name}: {held} of {bound}");
    // While a list grows, and while a content is converted, both copies exist.
    let peak = peak - before;
    assert!(peak <= 2 * bound, "{name}: {peak} of {bound}");
    drop(envelope);

    let error = decode::<M>(payload, bound - 1).err().unwrap();
    assert!(
        matches!(*error.fault(), DecodeFault::Memory { .. }),
        "{error}"
    );
    assert!(decode::<M>(payload, bound).is_ok());
}

#[test]
fn a_length_that_lies_allocates_nothing() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // A message of 2 GiB, of which nothing has arrived.
    for payload in [
        &[0x32, 0xff, 0xff, 0xff, 0xff, 0x07][..],
        &[0x0a, 0xff, 0xff, 0xff, 0x0f],
    ] {
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        assert!(decode::<Request>(payload, usize::MAX).is_err());
        assert!(ALLOCATOR.peak_usage() - before < 4096);
    }
}
