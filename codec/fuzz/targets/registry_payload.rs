//! Reads any payload as a registration and as a query of a registry.
#![no_main]

use agentwire_codec::{Format, Value};
use agentwire_registry::{
    Query, Registration,
    backend::{QueryExt, RegistrationExt},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|payload: &[u8]| {
    let Ok(Value::Map(map)) = Format::detect(payload).decode_value(payload) else {
        return;
    };
    let query = Query::from_map(&map);
    if let Ok(query) = &query {
        let again = Query::from_map(&query.to_map()).expect("what was read is written readably");
        assert_eq!(again.to_map(), query.to_map());
        // A malformed query is refused and matches nothing, but it does not panic.
        let _ = query.check();
    }
    let Ok(registration) = Registration::from_map(map) else {
        return;
    };
    let written = registration.to_map();
    let again = Registration::from_map(written.clone()).expect("what was read is written readably");
    assert_eq!(again.to_map(), written);
    if registration.check(64 * 1024).is_ok() {
        assert!(registration.is_portable(), "an accepted endpoint is text");
    }
    if let Ok(query) = query {
        let _ = query.matches(&registration);
    }
});
