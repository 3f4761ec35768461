//! Rust calls and is called by three independent implementations of WebSocket in Python, which send
//! text, fragments, and pings between fragments. (Rust calls itself in `rust_calls_rust`.)

use agentwire_interop_tests::{PythonPeer, Wire, python_calls_rust, rust_calls_python, test_cases};

mod rust_calls {
    use super::*;

    test_cases! {
        websockets: rust_calls_python(PythonPeer::Websockets, Wire::JSON_OVER_WEBSOCKET);
        in_msgpack: rust_calls_python(PythonPeer::Websockets, Wire::MSGPACK_OVER_WEBSOCKET);
        aiohttp: rust_calls_python(PythonPeer::Aiohttp, Wire::JSON_OVER_WEBSOCKET);
        wsproto: rust_calls_python(PythonPeer::Wsproto, Wire::JSON_OVER_WEBSOCKET);
        => [shared] [rust]
    }
}

// The cases with raw frames write their frames themselves, so no library takes part in them.
mod called_by {
    use super::*;

    test_cases! {
        websockets: python_calls_rust(PythonPeer::Websockets, Wire::JSON_OVER_WEBSOCKET);
        in_msgpack: python_calls_rust(PythonPeer::Websockets, Wire::MSGPACK_OVER_WEBSOCKET);
        aiohttp: python_calls_rust(PythonPeer::Aiohttp, Wire::JSON_OVER_WEBSOCKET);
        wsproto: python_calls_rust(PythonPeer::Wsproto, Wire::JSON_OVER_WEBSOCKET);
        => [text] [values] metadata server_restart
    }
}
