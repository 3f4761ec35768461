//! Rust calls the interop agent in Rust. A case that fails here is not the other language's fault.

use agentwire_interop_tests::{Wire, rust_calls_rust, test_cases};

test_cases! {
    over_unix: rust_calls_rust(Wire::JSON_OVER_UNIX);
    over_tcp: rust_calls_rust(Wire::JSON_OVER_TCP);
    in_msgpack: rust_calls_rust(Wire::MSGPACK_OVER_UNIX);
    => [shared] [rust]
}
