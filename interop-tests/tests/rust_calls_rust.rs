//! Rust calls the interop agent in Rust. A case that fails here is not the other language's fault.

use agentwire_interop_tests::{
    AgentKind, TempEndpoint, TestResult, Wire, cases, test_cases, within,
};

test_cases!(run, in Rust);

async fn run(wire: Wire, case: &str) -> TestResult {
    // Boxed, because the future of all cases is large.
    within(Box::pin(async {
        let listen = TempEndpoint::new(wire.carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = kind.serve(listen.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        if case != "server_restart" {
            return cases::run(case, wire.target(&endpoint)).await;
        }
        let restart = async {
            server.stop().await;
            server = kind.serve(&endpoint).await?;
            Ok(())
        };
        Box::pin(cases::server_restart(wire.target(&endpoint), restart)).await
    }))
    .await
}
