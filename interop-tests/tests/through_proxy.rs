//! Python calls the interop agent that Python serves, with `agentwire proxy` in between: neither
//! side should notice.

use agentwire::Format;
use agentwire_interop_tests::{
    AgentKind, Outcome, PeerClient, PeerServer, Proxy, Site, Way, peer_is_agenkit, skip,
    test_cases, within,
};

test_cases!(run);

async fn run(way: Way, case: &str) -> Outcome {
    if way.format != Format::Json && peer_is_agenkit() {
        skip(case, "agenkit knows no format but JSON");
        return Ok(());
    }
    // Outside of the limit in time: it may have to be built.
    Proxy::prepare()?;
    within(async {
        let (near, far) = (Site::new(way.carrier)?, Site::new(way.carrier)?);
        let mut server = PeerServer::start(AgentKind::for_case(case), far.endpoint()).await?;
        let proxy = Proxy::start(near.endpoint(), way.to(server.endpoint())).await?;
        let mut client = PeerClient::start(way.to(proxy.endpoint()), case)?;
        if case == "server_restart" {
            client.wants_restart().await?;
            server.restart().await?;
            client.restarted().await?;
        }
        let outcome = client.passes().await;
        outcome.map_err(|failure| server.explain(proxy.explain(failure)))
    })
    .await
}
