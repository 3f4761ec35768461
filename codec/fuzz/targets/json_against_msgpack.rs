//! Checks that an envelope survives the conversion from one format to the other.
#![no_main]

use agentwire_codec::{EncodeError, Format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let from = Format::detect(payload);
    let to = match from {
        Format::Json => Format::MessagePack,
        _ => Format::Json,
    };
    let Ok(envelope) = from.decode(payload) else {
        return;
    };
    let mut written = Vec::new();
    match to.encode(&envelope, &mut written) {
        Ok(()) => {
            assert_eq!(Format::detect(&written), to);
            let again = to.decode(&written).expect("what was written can be read");
            assert_eq!(again, envelope);
        }
        // Values that the other format cannot carry.
        Err(EncodeError::BytesInJson) => assert_eq!(to, Format::Json),
        Err(EncodeError::IntegerTooLarge) => assert_eq!(to, Format::MessagePack),
        Err(error) => panic!("{error}"),
    }
});
