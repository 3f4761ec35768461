//! The probes of a load balancer or of Kubernetes through the life of a server.

use std::{sync::Arc, time::Duration};

use agentwire::{
    LocalAgent, Value, map,
    registry::{LocalRegistry, Registration},
};
use tokio::sync::Notify;

use crate::{
    common::{Delegate, Hooks, ScriptedAgent, until, within},
    peer::{Peer, Reply},
};

async fn probe(peer: &mut Peer, path: &str) -> Reply {
    let head = peer.get("HEAD", path, "").await;
    let reply = peer.get("GET", path, "").await;
    assert_eq!(head.status, reply.status);
    assert!(head.header("content-length").is_some());
    reply
}

#[tokio::test]
async fn a_server_without_a_registry_is_ready_at_once() {
    let builder = LocalAgent::builder(ScriptedAgent).endpoint("http://127.0.0.1:0");
    let server = within(builder.serve()).await.unwrap();
    let mut peer = Peer::connect(server.endpoint()).await;
    let health = probe(&mut peer, "/health").await.json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["agent"], "scripted");
    assert!(matches!(health["uptime"], Value::Float(uptime) if uptime >= 0.0));
    let checks = map! {"server": "ok", "agent": "ok"};
    let ready = probe(&mut peer, "/ready").await;
    assert_eq!(ready.status, 200);
    assert_eq!(
        ready.json(),
        Value::from(map! {"ready": true, "checks": checks})
    );
    let live = probe(&mut peer, "/live").await;
    assert_eq!(live.text(), r#"{"alive": true}"#);
}

/// A registry whose registrations wait.
struct Gate(Arc<Notify>);

impl Hooks for Gate {
    async fn before_register(&self, _: &Registration) {
        self.0.notified().await;
    }
}

#[tokio::test]
async fn readiness_follows_registration_and_the_start_of_a_stop() {
    let gate = Arc::new(Notify::new());
    let registry = Delegate::new(&LocalRegistry::new(), Gate(Arc::clone(&gate)));
    let builder = LocalAgent::builder(ScriptedAgent)
        .endpoint("http://127.0.0.1:0")
        .registry(registry)
        .deregistration_delay(Duration::from_secs(600));
    let server = Arc::new(within(builder.serve()).await.unwrap());
    let mut peer = Peer::connect(server.endpoint()).await;

    // Started, but not registered.
    for (path, status) in [("/live", 200), ("/health", 200), ("/ready", 503)] {
        assert_eq!(probe(&mut peer, path).await.status, status, "{path}");
    }
    let ready = probe(&mut peer, "/ready").await.json();
    assert_eq!(ready["checks"]["registry"], "pending");

    gate.notify_one();
    within(server.registrations()[0].registered())
        .await
        .unwrap();
    for path in ["/live", "/health", "/ready"] {
        assert_eq!(probe(&mut peer, path).await.status, 200, "{path}");
    }

    // Unregistered, and still serving the clients that do not know yet.
    let stopping = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.stop().await }
    });
    until("the agent is unregistered", || {
        server.registrations()[0].is_ended()
    })
    .await;
    for (path, status) in [("/live", 200), ("/health", 200), ("/ready", 503)] {
        assert_eq!(probe(&mut peer, path).await.status, status, "{path}");
    }
    let ready = probe(&mut peer, "/ready").await.json();
    assert_eq!(ready["checks"]["server"], "stopping");

    // Stopped.
    stopping.abort();
    within(server.abort()).await;
    assert_eq!(peer.rest().await, b"");
}
