//! Python calls the interop agent in Rust.

use agentwire_interop_tests::{
    AgentKind, PythonClient, TempEndpoint, TestResult, Wire, test_cases, within,
};

test_cases!(run);

async fn run(wire: Wire, case: &str) -> TestResult {
    within(async {
        let listen = TempEndpoint::new(wire.carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = kind.serve(listen.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        let mut client = PythonClient::start(wire.target(&endpoint), case)?;
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
