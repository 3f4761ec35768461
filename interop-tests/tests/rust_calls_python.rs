//! Rust calls the interop agent that Python serves.

use agentwire::{Error, Format, Map, Message, RemoteAgent};
use agentwire_interop_tests::{
    AgentKind, Carrier, Outcome, PeerServer, Site, Way, cases, expect_that, peer_is_agenkit, skip,
    test_cases, within,
};

test_cases!(run, in Rust);

async fn run(way: Way, case: &str) -> Outcome {
    if case == cases::STRICT && peer_is_agenkit() {
        skip(case, "agenkit's server answers such frames in its own way");
        return Ok(());
    }
    if way.format != Format::Json && peer_is_agenkit() {
        skip(case, "agenkit knows no format but JSON");
        return Ok(());
    }
    within(async {
        let site = Site::new(way.carrier)?;
        let mut server = PeerServer::start(AgentKind::for_case(case), site.endpoint()).await?;
        let endpoint = server.endpoint().to_owned();
        let outcome = match case {
            "server_restart" => cases::server_restart(way.to(&endpoint), server.restart()).await,
            _ => cases::run(case, way.to(&endpoint)).await,
        };
        outcome.map_err(|failure| server.explain(failure))
    })
    .await
}

/// Python's servers, agenkit's among them, run no tools and say so in their own way.
#[tokio::test]
async fn a_tool_is_refused_for_what_it_is() -> Outcome {
    within(async {
        let site = Site::new(Carrier::Unix)?;
        let server = PeerServer::start(AgentKind::Interop, site.endpoint()).await?;
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
