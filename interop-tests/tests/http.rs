//! Rust calls and is called over HTTP: by the package agenkit, whose server and client speak HTTP/1.1
//! at `http://` and `h2c://`, by an implementation on the package aiohttp, and by itself in HTTP/1.1
//! and HTTP/2. Clients of WebSocket use the port of HTTP as well.

use agentwire_interop_tests::{
    AgentKind, PythonClient, PythonPeer, PythonServer, TempEndpoint, TestResult, Wire, cases,
    within,
};

/// Defines a test for each case, and for each wire that a module names. The cases with raw frames
/// are left out, because HTTP has no frames.
macro_rules! http_cases {
    ($($module:ident: $wire:ident)*; $cases:tt) => {
        $(
            mod $module {
                use super::*;
                http_cases! { @over $wire $cases }
            }
        )*
    };

    (@over $wire:ident { $($case:ident)* }) => {
        $(
            #[tokio::test]
            async fn $case() -> TestResult {
                run(Wire::$wire, stringify!($case)).await
            }
        )*
    };
}

mod rust_calls_agenkit {
    use super::*;

    http_cases! {
        over_http: JSON_OVER_HTTP
        over_h2c: JSON_OVER_H2C;
        {
            simple_call
            unicode
            structured_content
            null_content
            metadata
            empty_message
            one_mib_message
            stream_zero
            stream_one
            stream_many
            agent_error
            error_mid_stream
            no_streaming
            sequential_calls
            concurrent_clients
            concurrent_calls
            server_restart
            any_name
            deadline
            dropped_call
            dropped_stream
        }
    }

    async fn run(wire: Wire, case: &str) -> TestResult {
        rust_calls(PythonPeer::Agenkit, wire, case).await
    }
}

mod rust_calls_aiohttp {
    use super::*;

    http_cases! {
        over_http: JSON_OVER_HTTP
        in_msgpack: MSGPACK_OVER_HTTP;
        {
            simple_call
            unicode
            structured_content
            null_content
            metadata
            empty_message
            one_mib_message
            stream_zero
            stream_one
            stream_many
            agent_error
            error_mid_stream
            no_streaming
            sequential_calls
            concurrent_clients
            concurrent_calls
            server_restart
            any_name
            deadline
            dropped_call
            dropped_stream
        }
    }

    async fn run(wire: Wire, case: &str) -> TestResult {
        rust_calls(PythonPeer::AiohttpHttp, wire, case).await
    }
}

async fn rust_calls(peer: PythonPeer, wire: Wire, case: &str) -> TestResult {
    // Boxed, because the future of all cases is large.
    within(Box::pin(async {
        let listen = TempEndpoint::new(wire.carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = PythonServer::start_on(peer, kind, listen.endpoint()).await?;
        let endpoint = server.endpoint().to_owned();
        let target = wire.target(&endpoint);
        let outcome = match case {
            "server_restart" => cases::server_restart(target, server.restart()).await,
            _ => cases::run(case, target).await,
        };
        outcome.map_err(|failure| server.explain(failure))
    }))
    .await
}

mod agenkit_calls_rust {
    use super::*;

    http_cases! {
        over_http: JSON_OVER_HTTP
        over_h2c: JSON_OVER_H2C;
        {
            simple_call
            unicode
            structured_content
            null_content
            metadata
            empty_message
            one_mib_message
            stream_zero
            stream_one
            stream_many
            agent_error
            error_mid_stream
            no_streaming
            sequential_calls
            concurrent_clients
            server_restart
        }
    }

    async fn run(wire: Wire, case: &str) -> TestResult {
        called_by(PythonPeer::Agenkit, wire, "", case).await
    }

    /// agenkit's clients of WebSocket at the port of HTTP.
    mod over_websocket {
        use super::*;

        http_cases! { @over JSON_OVER_HTTP {
            simple_call
            unicode
            one_mib_message
            stream_many
            agent_error
            error_mid_stream
            sequential_calls
            server_restart
        } }

        async fn run(wire: Wire, case: &str) -> TestResult {
            called_by(PythonPeer::Agenkit, wire, "ws", case).await
        }
    }
}

mod aiohttp_calls_rust {
    use super::*;

    http_cases! {
        over_http: JSON_OVER_HTTP
        in_msgpack: MSGPACK_OVER_HTTP;
        {
            simple_call
            unicode
            structured_content
            null_content
            metadata
            empty_message
            one_mib_message
            stream_zero
            stream_one
            stream_many
            agent_error
            error_mid_stream
            no_streaming
            sequential_calls
            concurrent_clients
            server_restart
        }
    }

    async fn run(wire: Wire, case: &str) -> TestResult {
        called_by(PythonPeer::AiohttpHttp, wire, "", case).await
    }
}

/// Runs a case of a client in Python, which uses the scheme `scheme` unless it is empty.
async fn called_by(peer: PythonPeer, wire: Wire, scheme: &str, case: &str) -> TestResult {
    within(async {
        let listen = TempEndpoint::new(wire.carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = kind.serve(listen.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        let called = match endpoint.split_once("://") {
            Some((_, rest)) if !scheme.is_empty() => format!("{scheme}://{rest}"),
            _ => endpoint.clone(),
        };
        let mut client = PythonClient::start_on(peer, wire.target(&called), case)?;
        if case == "server_restart" {
            client.wait_for_restart_request().await?;
            server.stop().await;
            server = kind.serve(&endpoint).await?;
            client.confirm_restart().await?;
        }
        client.passes().await?;
        server.stop().await;
        Ok(())
    })
    .await
}

mod rust_calls_rust {
    use super::*;

    http_cases! {
        over_http: JSON_OVER_HTTP
        over_h2c: JSON_OVER_H2C
        in_msgpack: MSGPACK_OVER_HTTP;
        {
            simple_call
            unicode
            structured_content
            null_content
            metadata
            empty_message
            one_mib_message
            stream_zero
            stream_one
            stream_many
            agent_error
            error_mid_stream
            no_streaming
            sequential_calls
            concurrent_clients
            concurrent_calls
            any_name
            deadline
            dropped_call
            dropped_stream
        }
    }

    async fn run(wire: Wire, case: &str) -> TestResult {
        within(Box::pin(async {
            let listen = TempEndpoint::new(wire.carrier)?;
            let server = AgentKind::for_case(case).serve(listen.endpoint()).await?;
            let endpoint = server.endpoint().to_string();
            cases::run(case, wire.target(&endpoint)).await?;
            server.stop().await;
            Ok(())
        }))
        .await
    }
}
