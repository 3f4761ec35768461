//! Servers that register their agents.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::common::{Delegate, Hooks, ScriptedAgent, memory, registry_error, within};
use agentwire::{
    Endpoint, Error, LocalAgent, Map, Message, RemoteAgent, RetryPolicy, ToolResult, agent_fn,
    registry::{
        InstanceRef, LocalRegistry, Query, Registration, Registry, RegistryConfig, RegistryError,
        RegistryServer, RemoteRegistry, Watch, WatchScope, backend::WatchExt,
    },
    tool_fn,
};
use futures_util::{StreamExt, future::join_all};
use tokio::time::{Instant, sleep};

/// A lease that expires well within the limit of [`within`].
fn short_lease() -> RegistryConfig {
    RegistryConfig::new().lease(Duration::from_secs(6))
}

async fn until_registered(server: &LocalAgent) {
    for registrant in server.registrations() {
        within(registrant.registered()).await.unwrap();
    }
}

#[tokio::test]
async fn a_server_registers_what_it_offers_and_is_called_at_that_endpoint() {
    let registry = LocalRegistry::new();
    let double = tool_fn("double", |_: Map| async move { Ok(ToolResult::success(2)) });
    let server = LocalAgent::builder(ScriptedAgent)
        .tool(double)
        .registry(registry.clone())
        .version("1.2.3".parse().unwrap())
        .metadata("zone", "b")
        .endpoint("tcp://127.0.0.1:0")
        .serve();
    let server = within(server).await.unwrap();
    until_registered(&server).await;
    let query = Query::new()
        .tool("double")
        .version("^1")
        .metadata("zone", "b");
    let found = registry.find(&query).await.unwrap();
    assert_eq!((found.len(), &*found[0].name), (1, "scripted"));
    assert_eq!(&found[0].endpoint, server.endpoint());

    let remote = RemoteAgent::new(&found[0].endpoint).unwrap();
    within(remote.process(Message::user("hello")))
        .await
        .unwrap();
    within(server.stop()).await;
    assert!(registry.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn each_agent_of_a_server_is_registered_by_its_name() {
    let registry = LocalRegistry::new();
    let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
    let server = LocalAgent::builder(ScriptedAgent)
        .agent(echo)
        .registry(registry.clone())
        .endpoint(memory("several"))
        .serve();
    let server = within(server).await.unwrap();
    until_registered(&server).await;
    let listed = registry.list().await.unwrap();
    let names: Vec<_> = listed.iter().map(|found| &*found.name).collect();
    assert_eq!(names, ["echo", "scripted"]);
    within(server.stop()).await;
    assert!(registry.list().await.unwrap().is_empty());
}

/// Hooks that call the agent whenever it registers or unregisters, and that delay the events of
/// watches.
#[derive(Default)]
struct Probing {
    event_delay: Duration,
    /// Whether the agent answered, for each probe.
    probes: Mutex<Vec<(&'static str, bool)>>,
}

impl Probing {
    async fn probe(&self, when: &'static str, endpoint: &Endpoint) {
        let remote = RemoteAgent::builder(endpoint).timeout(Duration::from_secs(2));
        let answer = remote.build().unwrap().process(Message::user("?")).await;
        self.probes.lock().unwrap().push((when, answer.is_ok()));
    }
}

impl Hooks for Probing {
    async fn before_register(&self, registration: &Registration) {
        self.probe("register", &registration.endpoint).await;
    }

    async fn before_unregister(&self, which: &InstanceRef) {
        if let Some(endpoint) = &which.endpoint {
            self.probe("unregister", endpoint).await;
        }
    }

    fn watch(&self, inner: &LocalRegistry, scope: WatchScope) -> Watch {
        let delay = self.event_delay;
        Watch::new(inner.watch(scope).then(move |event| async move {
            sleep(delay).await;
            event
        }))
    }
}

#[tokio::test]
async fn a_server_is_registered_only_while_it_accepts_calls() {
    let registry = Delegate::new(&LocalRegistry::new(), Probing::default());
    let server = LocalAgent::builder(ScriptedAgent).registry(registry.clone());
    let server = within(server.endpoint(memory("order")).serve())
        .await
        .unwrap();
    until_registered(&server).await;
    within(server.stop()).await;
    assert_eq!(
        *registry.hooks.probes.lock().unwrap(),
        [("register", true), ("unregister", true)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_stopping_server_serves_until_clients_can_have_learned_of_it() {
    let notice = Duration::from_secs(3);
    let registry = LocalRegistry::new();
    let server = LocalAgent::builder(ScriptedAgent)
        .registry(registry.clone())
        .deregistration_delay(notice);
    let server = within(server.endpoint(memory("notice")).serve())
        .await
        .unwrap();
    until_registered(&server).await;
    let remote = RemoteAgent::builder(server.endpoint()).retry(RetryPolicy::never());
    let remote = remote.build().unwrap();
    let start = Instant::now();
    let calling = async {
        sleep(notice - Duration::from_millis(1)).await;
        assert!(registry.list().await.unwrap().is_empty());
        remote.process(Message::user("hello")).await.unwrap();
        sleep(Duration::from_millis(2)).await;
        remote.process(Message::user("hello")).await.unwrap_err();
    };
    within(async { tokio::join!(server.stop(), calling) }).await;
    assert!(start.elapsed() <= notice + Duration::from_millis(10));

    // A server without a registry stops without a delay.
    let server = LocalAgent::serve(ScriptedAgent, memory("unknown"))
        .await
        .unwrap();
    let start = Instant::now();
    within(server.stop()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_under_load_loses_no_call() {
    let entries = LocalRegistry::new();
    let registry = RegistryServer::serve(entries.clone(), memory("load-registry"));
    let registry = within(registry).await.unwrap();
    // Calls end at different times, so that some are always in flight.
    let slow = |message: Message| async move {
        let millis = message.content.as_u64().unwrap_or_default() % 7;
        sleep(Duration::from_millis(millis)).await;
        Ok(message)
    };
    for max_in_flight in [1, 8] {
        let mut servers = Vec::new();
        for _ in 0..3 {
            let at = RemoteRegistry::new(registry.endpoint()).unwrap();
            let server = LocalAgent::builder(agent_fn("slow", slow)).registry(at);
            let server = within(server.endpoint(memory("load")).serve())
                .await
                .unwrap();
            until_registered(&server).await;
            servers.push(server);
        }
        // The client learns of a stopped server late: without its deregistration delay the server
        // would be gone.
        let hooks = Probing {
            event_delay: Duration::from_millis(50),
            ..Probing::default()
        };
        let remote = RemoteAgent::discover(Delegate::new(&entries, hooks), "slow")
            .max_in_flight_per_connection(max_in_flight)
            .max_connections(8 / max_in_flight)
            .build()
            .unwrap();
        let (calls, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let callers = join_all((0..8).map(|_| async {
            while !done.load(Relaxed) {
                let number = calls.fetch_add(1, Relaxed) as u64;
                let reply = remote.process(Message::user(number)).await;
                reply.unwrap();
                // The paused clock advances only when all callers wait, even if agents answer at
                // once.
                sleep(Duration::from_micros(100)).await;
            }
        }));
        let stopping = async {
            for server in &servers[1..] {
                let before = calls.load(Relaxed);
                while calls.load(Relaxed) <= before + 200 {
                    sleep(Duration::from_millis(1)).await;
                }
                server.stop().await;
            }
            done.store(true, Relaxed);
        };
        within(async { tokio::join!(callers, stopping) }).await;
        within(servers[0].stop()).await;
    }
}

#[tokio::test]
async fn a_registered_agent_does_not_answer_to_other_names() {
    let server = LocalAgent::builder(ScriptedAgent).registry(LocalRegistry::new());
    let server = within(server.endpoint(memory("names")).serve())
        .await
        .unwrap();
    for (name, is_own) in [("scripted", true), ("", true), ("weather", false)] {
        let remote = RemoteAgent::builder(server.endpoint()).name(name);
        let answer = remote.build().unwrap().process(Message::user("who?")).await;
        match answer {
            Ok(_) => assert!(is_own, "{name}"),
            Err(Error::AgentNotFound { .. }) => assert!(!is_own, "{name}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    within(server.stop()).await;
}

#[tokio::test(start_paused = true)]
async fn the_registration_of_an_aborted_server_expires() {
    let registry = LocalRegistry::with_config(short_lease()).unwrap();
    let server = LocalAgent::builder(ScriptedAgent).registry(registry.clone());
    let server = within(server.endpoint(memory("crash")).serve())
        .await
        .unwrap();
    until_registered(&server).await;
    let mut watch = registry.watch(WatchScope::name("scripted"));
    within(watch.next()).await.unwrap().unwrap();
    within(server.abort()).await;
    assert!(server.registrations()[0].is_ended());
    let event = within(watch.next()).await.unwrap().unwrap();
    assert!(
        matches!(event, agentwire::registry::Event::Expired(_)),
        "{event:?}"
    );
}

#[tokio::test]
async fn dropping_a_server_unregisters_its_agents() {
    let registry = LocalRegistry::new();
    let server = LocalAgent::builder(ScriptedAgent).registry(registry.clone());
    let server = within(server.endpoint(memory("dropped")).serve())
        .await
        .unwrap();
    until_registered(&server).await;
    let mut watch = registry.watch(WatchScope::name("scripted"));
    within(watch.next()).await.unwrap().unwrap();
    drop(server);
    let event = within(watch.next()).await.unwrap().unwrap();
    assert!(
        matches!(event, agentwire::registry::Event::Left(_)),
        "{event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_starts_late_or_restarts_gets_the_registration() {
    let endpoint = memory("late-registry");
    let remote = RemoteRegistry::new(&endpoint).unwrap();
    let server = LocalAgent::builder(ScriptedAgent).registry(remote);
    let server = within(server.endpoint(memory("early-agent")).serve())
        .await
        .unwrap();
    // The server serves without a registry.
    let agent = RemoteAgent::new(server.endpoint()).unwrap();
    within(agent.process(Message::user("hello"))).await.unwrap();
    assert!(!server.registrations()[0].is_registered());

    let first = LocalRegistry::with_config(short_lease()).unwrap();
    let registry = RegistryServer::serve(first, &endpoint).await.unwrap();
    until_registered(&server).await;
    within(registry.abort()).await;

    let second = LocalRegistry::with_config(short_lease()).unwrap();
    let mut watch = second.watch(WatchScope::name("scripted"));
    within(watch.next()).await.unwrap().unwrap();
    let registry = RegistryServer::serve(second, &endpoint).await.unwrap();
    let event = within(watch.next()).await.unwrap().unwrap();
    assert!(
        matches!(event, agentwire::registry::Event::Joined(_)),
        "{event:?}"
    );
    within(server.stop()).await;
    within(registry.stop()).await;
}

#[tokio::test]
async fn agents_that_cannot_be_called_or_registered_are_refused_before_serving() {
    let serve = |builder: agentwire::LocalAgentBuilder, endpoint: &'static str| async move {
        within(
            builder
                .registry(LocalRegistry::new())
                .endpoint(endpoint)
                .serve(),
        )
        .await
    };
    let error = serve(LocalAgent::builder(ScriptedAgent), "tcp://0.0.0.0:0").await;
    let error = error.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::InvalidSetting {
                setting: "advertised_endpoint",
                ..
            }
        ),
        "{error}"
    );
    let nonsense = LocalAgent::builder(ScriptedAgent).advertised_endpoint("nowhere");
    let error = serve(nonsense, "tcp://127.0.0.1:0").await.unwrap_err();
    assert!(matches!(error, Error::InvalidEndpoint(_)), "{error}");
    let nameless = agent_fn(" ", |message: Message| async move { Ok(message) });
    let error = serve(LocalAgent::builder(nameless), "tcp://127.0.0.1:0").await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Register(_)), "{error}");
    assert!(matches!(
        registry_error(&error),
        Some(RegistryError::InvalidName { .. })
    ));

    let told = LocalAgent::builder(ScriptedAgent).advertised_endpoint("tcp://localhost:0");
    let server = serve(told, "tcp://0.0.0.0:0").await.unwrap();
    let Endpoint::Tcp { port, .. } = server.endpoint() else {
        panic!("{server:?}")
    };
    let advertised = &server.registrations()[0].registration().endpoint;
    assert_eq!(*advertised, Endpoint::tcp("localhost", *port).unwrap());
    within(server.stop()).await;
}
