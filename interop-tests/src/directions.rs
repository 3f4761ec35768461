//! One case, between a client and a server in each language.

use crate::{
    AgentKind, CaseClient, PythonPeer, PythonServer, TempEndpoint, TestResult, Wire, cases, within,
};

/// Runs a case of the Rust client against a Python server.
///
/// # Errors
///
/// Returns an error if the case fails.
///
/// # Cancel safety
///
/// If the future is dropped, the case is stopped and the server is killed.
pub async fn rust_calls_python(peer: PythonPeer, wire: Wire, case: &str) -> TestResult {
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

/// Runs a case of a Python client against a Rust server.
///
/// # Errors
///
/// Returns an error if the case fails.
///
/// # Cancel safety
///
/// If the future is dropped, the client is killed and the server is closed.
pub async fn python_calls_rust(peer: PythonPeer, wire: Wire, case: &str) -> TestResult {
    within(async {
        let listen = TempEndpoint::new(wire.carrier)?;
        let server = AgentKind::for_case(case).serve(listen.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        let client = CaseClient::in_python(peer, wire.target(&endpoint), case)?;
        client.passes_against(server).await
    })
    .await
}

/// Runs a case of the Rust client against a Rust server. A case that fails here is not the other
/// language's fault.
///
/// # Errors
///
/// Returns an error if the case fails.
///
/// # Cancel safety
///
/// If the future is dropped, the case is stopped and the server is closed.
pub async fn rust_calls_rust(wire: Wire, case: &str) -> TestResult {
    within(Box::pin(async {
        let listen = TempEndpoint::new(wire.carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = kind.serve(listen.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        let target = wire.target(&endpoint);
        if case == "server_restart" {
            let restart = async {
                server.stop().await;
                server = kind.serve(&endpoint).await?;
                Ok(())
            };
            Box::pin(cases::server_restart(target, restart)).await?;
        } else {
            cases::run(case, target).await?;
        }
        server.stop().await;
        Ok(())
    }))
    .await
}
