//! Python calls the interop agent that Python serves, with `agentwire proxy` in between: neither
//! side should notice.

use agentwire_interop_tests::{
    AgentKind, Carrier, Outcome, PeerClient, PeerServer, Proxy, Site, test_cases, within,
};

test_cases!(run);

async fn run(carrier: Carrier, case: &str) -> Outcome {
    // Outside of the limit in time: it may have to be built.
    Proxy::prepare()?;
    within(async {
        let (near, far) = (Site::new(carrier)?, Site::new(carrier)?);
        let mut server = PeerServer::start(AgentKind::for_case(case), far.endpoint()).await?;
        let proxy = Proxy::start(near.endpoint(), server.endpoint()).await?;
        let mut client = PeerClient::start(proxy.endpoint(), case)?;
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
