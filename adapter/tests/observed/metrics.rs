//! A scripted hour of calls, after which every metric that the guide lists has the right value.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use agentwire::{
    AgentError, Endpoint, LocalAgent, Map, Message, RemoteAgent, RetryPolicy, ToolResult, Value,
    agent_fn,
    layer::ConcurrencyLimit,
    observer::MetricsObserver,
    registry::{
        InstanceRef, LocalRegistry, Registration, Registry, RegistryConfig, RegistryServer,
    },
    stream_fn, tool_fn,
};
use futures_util::{future::join_all, stream};
use tokio::time::{Instant, sleep};

use crate::{
    common::{RawPeer, memory, within},
    recorder::Recorder,
};

const GUIDE: &str = include_str!("../../../docs/guide/src/observability.md");
const MINUTE: Duration = Duration::from_secs(60);

/// What the tests share.
struct Script {
    recorder: Arc<Recorder>,
    observer: Arc<MetricsObserver>,
}

impl Script {
    fn new() -> Self {
        let recorder = Arc::new(Recorder::default());
        let observer = Arc::new(MetricsObserver::with_recorder(recorder.clone()));
        Self { recorder, observer }
    }

    #[track_caller]
    fn has(&self, metric: &str, value: f64) {
        assert_eq!(self.recorder.value(metric), value, "{metric}");
    }

    /// Waits until a metric has a value.
    async fn wait_for(&self, metric: &str, value: f64) {
        within(async {
            while self.recorder.find(metric) != Some(value) {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Serves agents that work for the time in the message, fail with the code in it, or stream.
    async fn serve(&self) -> LocalAgent {
        let recorder = Arc::clone(&self.recorder);
        let work = agent_fn("work", move |message: Message| {
            let recorder = Arc::clone(&recorder);
            async move {
                match message.text() {
                    None => sleep(Duration::from_secs(message.content.as_u64().unwrap())).await,
                    Some(code) if code.len() < 100 => {
                        return Err(AgentError::with_code(code, "as the message says"));
                    }
                    Some(_) => {
                        let used = recorder.value("agentwire_memory_used_bytes");
                        assert!(used > 1_000_000.0, "{used}");
                    }
                }
                Ok(Message::agent("done"))
            }
        });
        let ticks = stream_fn("ticks", |_: Message| {
            stream::iter([Ok(Message::agent(1)), Ok(Message::agent(2))])
        });
        let now = tool_fn("now", |_: Map| async { Ok(ToolResult::success("noon")) });
        LocalAgent::builder(work)
            .agent(ticks)
            .tool(now)
            .layer(ConcurrencyLimit::new(2).queue(0))
            .observer(self.observer.clone())
            .endpoint(memory("metrics"))
            .serve()
            .await
            .unwrap()
    }

    fn client(&self, endpoint: &Endpoint, name: &str, connections: usize) -> RemoteAgent {
        RemoteAgent::builder(endpoint)
            .name(name)
            .timeout(3 * MINUTE)
            .max_connections(connections)
            .retry(RetryPolicy::never())
            .observer(self.observer.clone())
            .build()
            .unwrap()
    }

    /// Calls for an hour, on one connection that the calls wait for, and then fails in some ways.
    async fn calls(&self) {
        let server = self.serve().await;
        let remote = self.client(server.endpoint(), "work", 1);
        let start = Instant::now();
        for _ in 0..30 {
            let both = [0, 1].map(|_| remote.process(Message::user(60)));
            for reply in join_all(both).await {
                reply.unwrap();
            }
        }
        assert!(start.elapsed() >= 60 * MINUTE);
        self.has(
            r#"agentwire_requests_total{agent="work",method="process",code="OK"}"#,
            60.0,
        );
        self.has(
            r#"agentwire_calls_total{agent="work",method="process",code="OK"}"#,
            60.0,
        );
        let requests = r#"agentwire_request_duration_seconds{agent="work",method="process"}"#;
        let calls = r#"agentwire_call_duration_seconds{agent="work",method="process"}"#;
        let queue = "agentwire_call_queue_seconds";
        self.has(requests, 60.0);
        self.has(calls, 60.0);
        // One call of each pair waits for a minute.
        self.has(queue, 30.0);
        let about = |name: &str, seconds: f64| {
            let sum = self.recorder.sum(name);
            assert!((sum - seconds).abs() < 1.0, "{name}: {sum}");
        };
        about(requests, 3600.0);
        about(queue, 1800.0);
        about(calls, 3600.0 + 1800.0);

        // While a request runs.
        let running = {
            let remote = remote.clone();
            tokio::spawn(async move { remote.process(Message::user(60)).await })
        };
        sleep(Duration::from_secs(1)).await;
        for gauge in [
            "agentwire_requests_in_flight",
            "agentwire_calls_in_flight",
            r#"agentwire_connections{side="server"}"#,
            r#"agentwire_connections{side="client"}"#,
        ] {
            self.has(gauge, 1.0);
        }
        // A request whose caller leaves.
        running.abort();
        let cancelled = r#"method="process",code="CANCELLED"}"#;
        let cancelled = |metric: &str| format!(r#"{metric}{{agent="work",{cancelled}"#);
        within(async {
            while running_requests(&self.recorder) > 0.0 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        self.has(&cancelled("agentwire_requests_total"), 1.0);
        self.has(&cancelled("agentwire_calls_total"), 1.0);

        // Failures, a tool, a stream, and a large message.
        let failed = remote.process(Message::user("NO")).await.unwrap_err();
        assert_eq!(failed.code().as_str(), "NO");
        remote.execute("now", Map::new()).await.unwrap();
        remote.execute("secret", Map::new()).await.unwrap_err();
        let large = Message::user("x".repeat(2_000_000));
        remote.process(large).await.unwrap();
        let ticks = self.client(server.endpoint(), "ticks", 1);
        let mut chunks = ticks.stream(Message::user("go"));
        while let Some(chunk) = chunks.next().await {
            chunk.unwrap();
        }
        // Three requests at a time, of which the layer lets two run.
        let busy = self.client(server.endpoint(), "work", 3);
        let three = [0, 1, 2].map(|_| busy.process(Message::user(1)));
        let shed = join_all(three).await;
        assert_eq!(shed.iter().filter(|reply| reply.is_err()).count(), 1);
        for (series, value) in [
            (r#"agent="work",method="process",code="NO""#, 1.0),
            (
                r#"agent="work",method="process",code="AGENT_UNAVAILABLE""#,
                1.0,
            ),
            (r#"agent="now",method="execute",code="OK""#, 1.0),
            // The name of an unknown tool is a text of the caller.
            (r#"agent="",method="execute",code="TOOL_NOT_FOUND""#, 1.0),
            (r#"agent="ticks",method="stream",code="OK""#, 1.0),
        ] {
            self.has(&format!("agentwire_requests_total{{{series}}}"), value);
        }
        self.has(
            r#"agentwire_layer_actions_total{layer="concurrency_limit",action="shed",agent="work"}"#,
            1.0,
        );
        self.has("agentwire_memory_used_bytes", 0.0);

        for remote in [remote, ticks, busy] {
            within(remote.close()).await;
        }
        within(server.stop()).await;
        // Only these servers and clients have exchanged bytes so far.
        let bytes = |direction: &str, side: &str| {
            let name = format!("agentwire_{direction}_bytes_total{{side={side:?}}}");
            self.recorder.value(&name)
        };
        assert!(bytes("sent", "client") > 2_000_000.0);
        assert_eq!(bytes("sent", "client"), bytes("received", "server"));
        // The answer to the request whose caller left was never sent.
        assert_eq!(bytes("sent", "server"), bytes("received", "client"));
        // The first client, again after the dropped call, the stream, and three at a time.
        self.has(r#"agentwire_connections_opened_total{side="client"}"#, 6.0);
        self.has(r#"agentwire_connections_opened_total{side="server"}"#, 6.0);
        self.has(
            r#"agentwire_connections_closed_total{side="client",reason="closed"}"#,
            6.0,
        );
        for side in ["server", "client"] {
            self.has(&format!("agentwire_connections{{side={side:?}}}"), 0.0);
        }
    }

    /// Sends what no server takes, and calls where nobody listens.
    async fn refusals(&self) {
        let server = self.serve().await;
        let mut peer = RawPeer::connect(server.endpoint()).await;
        peer.send_frame(b"{}").await;
        peer.receive_payload().await;
        self.has(r#"agentwire_refusals_total{reason="malformed"}"#, 1.0);
        drop(peer);
        let nobody = RemoteAgent::builder(memory("nobody"))
            .name("nobody")
            .observer(self.observer.clone())
            .retry(RetryPolicy::new().backoff(Duration::from_secs(1), Duration::from_secs(1)))
            .build()
            .unwrap();
        let error = nobody.process(Message::user("hi")).await.unwrap_err();
        let retries = self
            .recorder
            .value(r#"agentwire_call_retries_total{agent="nobody"}"#);
        assert!(retries >= 1.0, "{error}");
        within(server.stop()).await;
    }

    /// Discovers two instances, of which one is missing and comes back.
    async fn discovery(&self) {
        let config = RegistryConfig::new().watch_buffer(4);
        let registry = LocalRegistry::with_config(config).unwrap();
        let registry_server = RegistryServer::builder(registry.clone())
            .observer(self.observer.clone())
            .endpoint(memory("metrics-registry"))
            .serve()
            .await
            .unwrap();
        self.wait_for(
            r#"agentwire_registry_changes_total{change="snapshot"}"#,
            1.0,
        )
        .await;
        let (live, dead) = (memory("live"), memory("dead"));
        let echo = || agent_fn("pair", |message: Message| async { Ok(message) });
        let _live = LocalAgent::serve(echo(), &live).await.unwrap();
        let registration = Registration::new("pair", live.clone());
        let gone = Registration::new("pair", dead.clone());
        for one in [&registration, &gone] {
            registry.register(one.clone()).await.unwrap();
        }
        self.wait_for("agentwire_registrations", 2.0).await;
        let joined = r#"agentwire_registry_changes_total{change="joined"}"#;
        self.has(joined, 2.0);
        let remote = RemoteAgent::discover(registry.clone(), "pair")
            .observer(self.observer.clone())
            .build()
            .unwrap();
        for _ in 0..8 {
            remote.process(Message::user("hi")).await.unwrap();
        }
        self.has(r#"agentwire_instance_ejections_total{agent="pair"}"#, 1.0);
        let _back = LocalAgent::serve(echo(), &dead).await.unwrap();
        within(async {
            while !self.has_recovered() {
                remote.process(Message::user("hi")).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
        })
        .await;
        self.has(r#"agentwire_instance_recoveries_total{agent="pair"}"#, 1.0);
        // The watch of the client cannot keep up.
        for round in 0..50 {
            let changed = registration.clone().with_metadata("round", round);
            registry.register(changed).await.unwrap();
        }
        self.wait_for(r#"agentwire_watch_resyncs_total{agent="pair"}"#, 1.0)
            .await;
        let which = InstanceRef::from(&gone);
        registry.unregister(&which).await.unwrap();
        self.wait_for("agentwire_registrations", 1.0).await;
        within(remote.close()).await;
        within(registry_server.stop()).await;
        self.wait_for("agentwire_registrations", 0.0).await;
    }

    fn has_recovered(&self) -> bool {
        let metrics = self.recorder.metrics();
        metrics.contains_key("agentwire_instance_recoveries_total")
    }
}

fn running_requests(recorder: &Recorder) -> f64 {
    recorder.value("agentwire_requests_in_flight")
}

/// Returns the kind and the labels of the metrics in the guide, by name.
pub(crate) fn documented() -> &'static BTreeMap<String, (String, Vec<String>)> {
    static DOCUMENTED: OnceLock<BTreeMap<String, (String, Vec<String>)>> = OnceLock::new();
    DOCUMENTED.get_or_init(|| {
        let rows = GUIDE
            .lines()
            .filter(|line| line.starts_with("| `agentwire_"));
        let rows = rows.map(|row| {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let labels = cells[3]
                .split(',')
                .map(|label| label.trim().trim_matches('`'));
            let labels = labels.filter(|label| !label.is_empty()).map(str::to_owned);
            let name = cells[1].trim_matches('`').to_owned();
            (name, (cells[2].to_owned(), labels.collect()))
        });
        rows.collect()
    })
}

#[tokio::test(start_paused = true)]
async fn registries_that_share_an_observer_report_the_sum_of_their_registrations() {
    let script = Script::new();
    let mut servers = Vec::new();
    for (number, total) in [3, 5].into_iter().enumerate() {
        let registry = LocalRegistry::new();
        let count = 3 - number;
        for agent in 0..count {
            let endpoint = memory(&format!("shared-{number}-{agent}"));
            let registration = Registration::new("pair", endpoint);
            registry.register(registration).await.unwrap();
        }
        let server = RegistryServer::builder(registry.clone())
            .observer(script.observer.clone())
            .endpoint(memory(&format!("shared-{number}")))
            .serve()
            .await
            .unwrap();
        script
            .wait_for("agentwire_registrations", f64::from(total))
            .await;
        servers.push((registry, server));
    }
    let (registry, first) = servers.remove(0);
    for instance in registry.find("pair").await.unwrap() {
        registry
            .unregister(&InstanceRef::from(&*instance))
            .await
            .unwrap();
    }
    script.wait_for("agentwire_registrations", 2.0).await;
    within(first.stop()).await;
    let (_, second) = servers.remove(0);
    within(second.stop()).await;
    script.wait_for("agentwire_registrations", 0.0).await;
}

#[tokio::test(start_paused = true)]
async fn servers_that_share_an_observer_report_the_sum_of_their_memory() {
    let script = Script::new();
    let memory_used = "agentwire_memory_used_bytes";
    let held = agent_fn("held", |message: Message| async move {
        sleep(Duration::from_secs(message.content[0].as_u64().unwrap())).await;
        Ok(Message::agent("done"))
    });
    let held = Arc::new(held);
    let mut calls = Vec::new();
    let mut servers = Vec::new();
    for (number, seconds) in [10_u64, 20].into_iter().enumerate() {
        let server = LocalAgent::builder(Arc::clone(&held))
            .observer(script.observer.clone())
            .endpoint(memory(&format!("memory-{number}")))
            .serve()
            .await
            .unwrap();
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let content = vec![Value::from(seconds), "x".repeat(1_000_000).into()];
        calls.push(tokio::spawn(async move {
            remote.process(Message::user(content)).await.unwrap();
        }));
        servers.push(server);
    }
    sleep(Duration::from_secs(5)).await;
    let both = script.recorder.value(memory_used);
    sleep(Duration::from_secs(10)).await;
    let one = script.recorder.value(memory_used);
    assert!(one > 500_000.0, "{one}");
    assert_eq!(both, 2.0 * one);
    for call in calls {
        within(call).await.unwrap();
    }
    script.wait_for(memory_used, 0.0).await;
    for server in servers {
        within(server.stop()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_documented_metric_has_the_right_value_after_an_hour() {
    let script = Script::new();
    script.calls().await;
    script.refusals().await;
    script.discovery().await;
    let found = script.recorder.metrics();
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|(name, (kind, labels))| (name, (kind.to_owned(), labels)))
        .collect();
    assert_eq!(found, *documented());
}
