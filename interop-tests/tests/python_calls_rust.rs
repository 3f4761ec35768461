//! Python calls the interop agent that Rust serves.

use agentwire::Format;
use agentwire_interop_tests::{
    AgentKind, Outcome, PeerClient, Site, Way, peer_is_agenkit, skip, test_cases, within,
};

test_cases!(run);

async fn run(way: Way, case: &str) -> Outcome {
    if way.format != Format::Json && peer_is_agenkit() {
        skip(case, "agenkit knows no format but JSON");
        return Ok(());
    }
    within(async {
        let site = Site::new(way.carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = kind.serve(site.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        let mut client = PeerClient::start(way.to(&endpoint), case)?;
        if case == "server_restart" {
            client.wants_restart().await?;
            server.stop().await;
            server = kind.serve(&endpoint).await?;
            client.restarted().await?;
        }
        client.passes().await?;
        server.stop().await;
        Ok(())
    })
    .await
}
