//! Reads any payload as each message of gRPC.
#![no_main]

use agentwire_codec::Envelope;
use agentwire_proto::{Request, Response, Rpc, StreamChunk, Wire, decode};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|payload: &[u8]| {
    if let Some(request) = read::<Request>(payload) {
        for rpc in [Rpc::Process, Rpc::ProcessStream] {
            let Ok(envelope) = request.clone().into_envelope(rpc) else {
                continue;
            };
            // Only the order of metadata and unread fields may be lost in the first conversion.
            let written =
                Request::from_envelope(envelope.clone()).expect("what was read is written");
            let again = read::<Request>(&written.encode_to_vec()).expect("and read again");
            let again = again.into_envelope(rpc).expect("as an envelope");
            assert_same(again, envelope);
        }
    }
    if let Some(response) = read::<Response>(payload) {
        for method in ["process", "execute", "describe"] {
            let Ok(envelope) = response.clone().into_envelope(method) else {
                continue;
            };
            let written =
                Response::from_envelope(envelope.clone()).expect("what was read is written");
            let again = read::<Response>(&written.encode_to_vec()).expect("and read again");
            assert_same(
                again.into_envelope(method).expect("as an envelope"),
                envelope,
            );
        }
    }
    if let Some(chunk) = read::<StreamChunk>(payload) {
        if let Ok(envelope) = chunk.into_envelope() {
            let written =
                StreamChunk::from_envelope(envelope.clone()).expect("what was read is written");
            let again = read::<StreamChunk>(&written.encode_to_vec()).expect("and read again");
            assert_same(again.into_envelope().expect("as an envelope"), envelope);
        }
    }
});

fn read<M: Wire>(payload: &[u8]) -> Option<M> {
    let (message, memory) = decode(payload, 64 << 20).ok()?;
    assert!(memory >= payload.len());
    Some(message)
}

/// Compares envelopes without their timestamps, which a writer adds.
fn assert_same(mut again: Envelope, envelope: Envelope) {
    again.timestamp.clone_from(&envelope.timestamp);
    assert_eq!(again, envelope);
}
