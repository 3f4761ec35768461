//! The checks shared by the fuzz targets of both formats.

use agentwire_codec::Format;

/// Decodes any payload. If that succeeds, encodes the result and checks that it decodes to the same
/// value.
pub fn round_trip(format: Format, payload: &[u8]) {
    // As a value.
    if let Ok(value) = format.decode_value(payload) {
        let mut written = Vec::new();
        format
            .encode_value(&value, &mut written)
            .expect("what was read can be written");
        assert_eq!(
            format.decode_value(&written).expect("and read again"),
            value
        );
    }
    // As an envelope.
    match format.decode(payload) {
        Err(error) => assert!(!error.to_wire_error().message.is_empty()),
        Ok(envelope) => {
            assert!(
                format.decode_value(payload).is_ok(),
                "an envelope is a value"
            );
            let mut written = Vec::new();
            format
                .encode(&envelope, &mut written)
                .expect("what was read can be written");
            let again = format.decode(&written).expect("and read again");
            assert_eq!(again, envelope);
            assert!(
                format.decode_raw(payload).is_ok(),
                "an envelope can be passed on"
            );
        }
    }
    // As an envelope that is passed on.
    if let Ok(envelope) = format.decode_raw(payload) {
        let mut written = Vec::new();
        format
            .encode(&envelope, &mut written)
            .expect("what was read can be written");
        assert_eq!(
            format.decode_raw(&written).expect("and read again"),
            envelope
        );
    }
}
