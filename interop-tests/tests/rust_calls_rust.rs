//! Rust calls the interop agent that Rust serves. Where a case fails here, the other language is
//! not to blame.

use agentwire_interop_tests::{AgentKind, Outcome, Site, Way, cases, test_cases, within};

test_cases!(run, in Rust);

async fn run(way: Way, case: &str) -> Outcome {
    within(async {
        let site = Site::new(way.carrier)?;
        let kind = AgentKind::for_case(case);
        let mut server = kind.serve(site.endpoint()).await?;
        let endpoint = server.endpoint().to_string();
        if case != "server_restart" {
            return cases::run(case, way.to(&endpoint)).await;
        }
        let restart = async {
            server.stop().await;
            server = kind.serve(&endpoint).await?;
            Ok(())
        };
        cases::server_restart(way.to(&endpoint), restart).await
    })
    .await
}
