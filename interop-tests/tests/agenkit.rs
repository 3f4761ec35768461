//! Rust and the package agenkit from PyPI call each other.
//!
//! A case that agenkit cannot pass is an ignored test, which names its reason.

use agentwire_interop_tests::{
    AgentKind, PythonClient, PythonPeer, PythonServer, TempEndpoint, TestResult, Wire, cases,
    script_command, within,
};

/// Defines a test for each case and each wire that agenkit supports.
macro_rules! agenkit_cases {
    ($($(#[$attribute:meta])* $case:ident)*) => {
        mod over_unix {
            use super::*;
            $(
                #[tokio::test]
                $(#[$attribute])*
                async fn $case() -> TestResult {
                    run(Wire::JSON_OVER_UNIX, stringify!($case)).await
                }
            )*
        }

        mod over_tcp {
            use super::*;
            $(
                #[tokio::test]
                $(#[$attribute])*
                async fn $case() -> TestResult {
                    run(Wire::JSON_OVER_TCP, stringify!($case)).await
                }
            )*
        }

        mod over_websocket {
            use super::*;
            $(
                #[tokio::test]
                $(#[$attribute])*
                async fn $case() -> TestResult {
                    run(Wire::JSON_OVER_WEBSOCKET, stringify!($case)).await
                }
            )*
        }

        #[test]
        #[ignore = "agenkit supports only JSON"]
        fn every_case_in_msgpack() {}
    };
}

mod rust_calls_agenkit {
    use super::*;

    agenkit_cases! {
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
        #[ignore = "agenkit's server answers with INTERNAL_ERROR and closes the connection (PROTOCOL 11)"]
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

    async fn run(wire: Wire, case: &str) -> TestResult {
        within(async {
            let listen = TempEndpoint::new(wire.carrier)?;
            let kind = AgentKind::for_case(case);
            let mut server =
                PythonServer::start_on(PythonPeer::Agenkit, kind, listen.endpoint()).await?;
            let endpoint = server.endpoint().to_owned();
            let target = wire.target(&endpoint);
            let outcome = match case {
                "server_restart" => cases::server_restart(target, server.restart()).await,
                _ => cases::run(case, target).await,
            };
            outcome.map_err(|failure| server.explain(failure))
        })
        .await
    }
}

mod agenkit_calls_rust {
    use super::*;

    // The cases with raw frames write their frames themselves. agenkit's client takes no part in
    // them, and `python_calls_rust` contains them.
    agenkit_cases! {
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

    async fn run(wire: Wire, case: &str) -> TestResult {
        within(async {
            let listen = TempEndpoint::new(wire.carrier)?;
            let kind = AgentKind::for_case(case);
            let mut server = kind.serve(listen.endpoint()).await?;
            let endpoint = server.endpoint().to_string();
            let target = wire.target(&endpoint);
            let mut client = PythonClient::start_on(PythonPeer::Agenkit, target, case)?;
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

/// The tests name one version of agenkit. Another version may behave differently.
#[test]
fn the_version_of_agenkit_is_the_one_in_the_requirements() -> TestResult {
    let requirements = include_str!("../python/requirements.txt");
    let mut command = script_command("versions.py", &["agenkit"])?;
    let installed = String::from_utf8_lossy(&command.output()?.stdout).into_owned();
    let wanted = format!("agenkit=={}", installed.trim());
    agentwire_interop_tests::expect_that(
        requirements.lines().any(|line| line.starts_with(&wanted)),
        || format!("installed: {installed:?}, required: {requirements:?}"),
    )
}
