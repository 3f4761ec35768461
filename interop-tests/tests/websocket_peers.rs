//! Rust calls and is called by three independent implementations of WebSocket in Python, which send
//! text, fragments, and pings between fragments. (Rust calls itself in `rust_calls_rust`.)

use agentwire_interop_tests::{
    AgentKind, PythonClient, PythonPeer, PythonServer, TempEndpoint, TestResult, Wire, cases,
    within,
};

/// Defines a test for each case and library, in JSON and, with one of the libraries, in MessagePack.
macro_rules! websocket_cases {
    ($($case:ident)*) => {
        mod websockets {
            use super::*;
            websocket_cases! { @in Websockets JSON_OVER_WEBSOCKET: $($case)* }
        }

        mod in_msgpack {
            use super::*;
            websocket_cases! { @in Websockets MSGPACK_OVER_WEBSOCKET: $($case)* }
        }

        mod aiohttp {
            use super::*;
            websocket_cases! { @in Aiohttp JSON_OVER_WEBSOCKET: $($case)* }
        }

        mod wsproto {
            use super::*;
            websocket_cases! { @in Wsproto JSON_OVER_WEBSOCKET: $($case)* }
        }
    };

    (@in $peer:ident $wire:ident: $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() -> TestResult {
                run(PythonPeer::$peer, Wire::$wire, stringify!($case)).await
            }
        )*
    };
}

mod rust_calls {
    use super::*;

    websocket_cases! {
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
        unknown_method
        wrong_type
        bad_json_keeps_connection
        sequential_calls
        concurrent_clients
        server_restart
        any_name
        concurrent_calls
        deadline
        dropped_call
        dropped_stream
    }

    async fn run(peer: PythonPeer, wire: Wire, case: &str) -> TestResult {
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
}

mod called_by {
    use super::*;

    // The cases with raw frames write their frames themselves, so no library takes part in them.
    websocket_cases! {
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

    async fn run(peer: PythonPeer, wire: Wire, case: &str) -> TestResult {
        within(async {
            let listen = TempEndpoint::new(wire.carrier)?;
            let kind = AgentKind::for_case(case);
            let mut server = kind.serve(listen.endpoint()).await?;
            let endpoint = server.endpoint().to_string();
            let mut client = PythonClient::start_on(peer, wire.target(&endpoint), case)?;
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
}
