//! Rust calls the interop agent in Python.

use agentwire::{Error, Map, Message, RemoteAgent};
use agentwire_interop_tests::{
    AgentKind, Carrier, PythonPeer, PythonServer, TempEndpoint, TestResult, Wire, expect_that,
    rust_calls_python, test_cases, within,
};

test_cases! {
    over_unix: rust_calls_python(PythonPeer::Own, Wire::JSON_OVER_UNIX);
    over_tcp: rust_calls_python(PythonPeer::Own, Wire::JSON_OVER_TCP);
    in_msgpack: rust_calls_python(PythonPeer::Own, Wire::MSGPACK_OVER_UNIX);
    => [shared] [rust]
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
