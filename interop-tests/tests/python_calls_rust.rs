//! Python calls the interop agent that Rust serves.

use agentwire_interop_tests::{AgentKind, Carrier, Outcome, PeerClient, Site, test_cases, within};

test_cases!(run);

async fn run(carrier: Carrier, case: &str) -> Outcome {
    within(async {
        let site = Site::new(carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = kind.serve(site.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        let mut client = PeerClient::start(&endpoint, case)?;
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
