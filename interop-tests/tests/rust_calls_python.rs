//! Rust calls the interop agent that Python serves.

use agentwire_interop_tests::{
    AgentKind, Carrier, Outcome, PeerServer, Site, cases, peer_is_agenkit, skip, test_cases, within,
};

test_cases!(run, in Rust);

async fn run(carrier: Carrier, case: &str) -> Outcome {
    if case == cases::STRICT && peer_is_agenkit() {
        skip(case, "agenkit's server answers such frames in its own way");
        return Ok(());
    }
    within(async {
        let site = Site::new(carrier)?;
        let mut server = PeerServer::start(AgentKind::for_case(case), site.endpoint()).await?;
        let endpoint = server.endpoint().to_owned();
        let outcome = match case {
            "server_restart" => cases::server_restart(&endpoint, server.restart()).await,
            _ => cases::run(case, &endpoint).await,
        };
        outcome.map_err(|failure| server.explain(failure))
    })
    .await
}
