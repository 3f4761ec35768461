//! Any payload is read or refused, and what is read is written in one form, which reads back the same.
#![no_main]

use agentwire_codec::{Format, json};
use libfuzzer_sys::fuzz_target;

const FORMAT: Format = Format::Json;

fuzz_target!(|payload: &[u8]| {
    // As a plain value.
    if let Ok(value) = FORMAT.decode_value(payload) {
        let mut written = Vec::new();
        json::write(&value, &mut written).expect("what was read can be written");
        assert_eq!(FORMAT.decode_value(&written).expect("and read again"), value);
    }
    // As an envelope.
    match FORMAT.decode(payload) {
        Err(error) => assert!(!error.to_wire_error().message.is_empty()),
        Ok(envelope) => {
            assert!(FORMAT.decode_value(payload).is_ok(), "an envelope is a value");
            let mut written = Vec::new();
            FORMAT.encode(&envelope, &mut written).expect("what was read can be written");
            assert_eq!(FORMAT.decode(&written).expect("and read again"), envelope);
        }
    }
});
