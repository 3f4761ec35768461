//! Rust calls the interop agent in Python.

use agentwire::{Error, Map, Message, RemoteAgent};
use agentwire_interop_tests::{
    AgentKind, Carrier, PythonServer, TempEndpoint, TestResult, Wire, cases, expect_that,
    test_cases, within,
};

test_cases!(run, in Rust);

async fn run(wire: Wire, case: &str) -> TestResult {
    within(async {
        let listen = TempEndpoint::new(wire.carrier)?;
        let mut server = PythonServer::start(AgentKind::for_case(case), listen.endpoint()).await?;
        let endpoint = server.endpoint().to_owned();
        let outcome = match case {
            "server_restart" => {
                cases::server_restart(wire.target(&endpoint), server.restart()).await
            }
            _ => cases::run(case, wire.target(&endpoint)).await,
        };
        outcome.map_err(|failure| server.explain(failure))
    })
    .await
}

/// Python's servers run no tools, and each reports that with a different error.
#[tokio::test]
async fn a_tool_call_is_unsupported() -> TestResult {
    within(async {
        let listen = TempEndpoint::new(Carrier::Unix)?;
        let server = PythonServer::start(AgentKind::Interop, listen.endpoint()).await?;
        let client = RemoteAgent::new(server.endpoint())?;
        let refused = client.execute("hammer", Map::new()).await;
        expect_that(matches!(refused, Err(Error::Unsupported { .. })), || {
            format!("{refused:?}")
        })?;
        client.process(Message::user("still here")).await?;
        Ok(())
    })
    .await
}
