//! Python calls the interop agent in Python through `agentwire proxy`, which neither side notices.

use agentwire_interop_tests::{
    AgentKind, CaseClient, Proxy, PythonPeer, PythonServer, TempEndpoint, TestResult, Wire,
    test_cases, within,
};

test_cases! {
    over_unix: run(Wire::JSON_OVER_UNIX);
    over_tcp: run(Wire::JSON_OVER_TCP);
    in_msgpack: run(Wire::MSGPACK_OVER_UNIX);
    => [shared]
}

async fn run(wire: Wire, case: &str) -> TestResult {
    // Outside of the time limit, because this may build the command.
    Proxy::prepare()?;
    within(async {
        let (near, far) = (
            TempEndpoint::new(wire.carrier)?,
            TempEndpoint::new(wire.carrier)?,
        );
        let mut server = PythonServer::start(AgentKind::for_case(case), far.endpoint()).await?;
        let proxy = Proxy::start(near.endpoint(), wire.target(server.endpoint())).await?;
        let mut client =
            CaseClient::in_python(PythonPeer::Own, wire.target(proxy.endpoint()), case)?;
        if case == "server_restart" {
            client.wait_for_restart_request().await?;
            server.restart().await?;
            client.confirm_restart().await?;
        }
        let outcome = client.passes().await;
        outcome.map_err(|failure| server.explain(proxy.explain(failure)))
    })
    .await
}
