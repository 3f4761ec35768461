//! The memory of a message and of its envelope is at most what `decode` announces.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use std::sync::{Mutex, PoisonError};

use agentwire_codec::DecodeFault;
use agentwire_proto::{Message, Request, Rpc, decode};
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
        let before = ALLOCATOR.current_usage();
        ALLOCATOR.reset_peak_usage();
        let (request, bound) = decode::<Request>(&payload, usize::MAX).unwrap();
        let envelope = request.into_envelope(Rpc::Process);
        let (held, peak) = (ALLOCATOR.current_usage(), ALLOCATOR.peak_usage());
        assert!(
            held - before <= bound,
            "{name}: {} of {bound}",
            held - before
        );
        // While a list grows, and while a content is converted, both copies exist.
        assert!(
            peak - before <= 2 * bound,
            "{name}: {} of {bound}",
            peak - before
        );
        drop(envelope);

        let error = decode::<Request>(&payload, bound - 1).unwrap_err();
        assert!(
            matches!(*error.fault(), DecodeFault::Memory { .. }),
            "{error}"
        );
        assert!(decode::<Request>(&payload, bound).is_ok());
    }
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
