//! Decodes any payload as JSON.
#![no_main]

use agentwire_codec::Format;
use agentwire_codec_fuzz::round_trip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| round_trip(Format::Json, payload));
