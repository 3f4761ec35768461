//! Rust calls and is called over HTTP: by the package agenkit, whose server and client speak HTTP/1.1
//! at `http://` and `h2c://`, by an implementation on the package aiohttp, and by itself in HTTP/1.1
//! and HTTP/2. Clients of WebSocket use the port of HTTP as well. The
//! cases with raw frames are left out, because HTTP has no frames.

use agentwire_interop_tests::{
    AgentKind, CaseClient, PythonPeer, TempEndpoint, TestResult, Wire, python_calls_rust,
    rust_calls_python, rust_calls_rust, test_cases, within,
};

mod rust_calls_agenkit {
    use super::*;

    test_cases! {
        over_http: rust_calls_python(PythonPeer::Agenkit, Wire::JSON_OVER_HTTP);
        over_h2c: rust_calls_python(PythonPeer::Agenkit, Wire::JSON_OVER_H2C);
        => [text] [values] metadata server_restart [rust]
    }
}

mod rust_calls_aiohttp {
    use super::*;

    test_cases! {
        over_http: rust_calls_python(PythonPeer::AiohttpHttp, Wire::JSON_OVER_HTTP);
        in_msgpack: rust_calls_python(PythonPeer::AiohttpHttp, Wire::MSGPACK_OVER_HTTP);
        => [text] [values] metadata server_restart [rust]
    }
}

mod agenkit_calls_rust {
    use super::*;

    test_cases! {
        over_http: python_calls_rust(PythonPeer::Agenkit, Wire::JSON_OVER_HTTP);
        over_h2c: python_calls_rust(PythonPeer::Agenkit, Wire::JSON_OVER_H2C);
        => [text] [values] metadata server_restart
    }

    test_cases! {
        over_websocket: agenkit_calls_the_port_of_http_by_websocket();
        => simple_call unicode one_mib_message stream_many agent_error error_mid_stream
        sequential_calls server_restart
    }
}

mod aiohttp_calls_rust {
    use super::*;

    test_cases! {
        over_http: python_calls_rust(PythonPeer::AiohttpHttp, Wire::JSON_OVER_HTTP);
        in_msgpack: python_calls_rust(PythonPeer::AiohttpHttp, Wire::MSGPACK_OVER_HTTP);
        => [text] [values] metadata server_restart
    }
}

mod rust_calls_itself {
    use super::*;

    test_cases! {
        over_http: rust_calls_rust(Wire::JSON_OVER_HTTP);
        over_h2c: rust_calls_rust(Wire::JSON_OVER_H2C);
        in_msgpack: rust_calls_rust(Wire::MSGPACK_OVER_HTTP);
        => [text] [values] metadata [rust]
    }
}

async fn agenkit_calls_the_port_of_http_by_websocket(case: &str) -> TestResult {
    within(async {
        let wire = Wire::JSON_OVER_HTTP;
        let listen = TempEndpoint::new(wire.carrier)?;
        let server = AgentKind::for_case(case).serve(listen.endpoint()).await?;
        let called = server.endpoint().to_string().replacen("http", "ws", 1);
        let client = CaseClient::in_python(PythonPeer::Agenkit, wire.target(&called), case)?;
        client.passes_against(server).await
    })
    .await
}
