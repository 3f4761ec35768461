//! Calls by name to faulty instances: they hang, they close connections, or they host other agents.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::common::{
    Instances, ScriptedAgent, ask, ask_often, call_by_name, memory, register_dead, within,
};
use agentwire::{
    Agent, AgentError, Balance, CallOptions, Endpoint, Error, LocalAgent, Message, RemoteAgent,
    RequestContext, RetryPolicy, agent_fn,
    registry::{Registration, Registry},
    transport::{Connection, Listener},
};
use futures_core::Stream;
use futures_util::future::join_all;
use tokio::{
    io::AsyncReadExt,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// An endpoint at which connecting hangs, as at a host that is switched off. For paused time only.
struct Hanging {
    endpoint: Endpoint,
    _listener: Listener,
    /// Fills the accept queue of the listener, so that further attempts to connect hang.
    _line: Vec<Connection>,
}

impl Hanging {
    async fn register(instances: &Instances) -> Self {
        let endpoint = memory("hanging");
        let listener = within(Listener::bind(&endpoint)).await.unwrap();
        let mut line = Vec::new();
        let connect = || agentwire::transport::connect(&endpoint);
        while let Ok(connected) = timeout(Duration::from_secs(1), connect()).await {
            line.push(connected.unwrap());
        }
        instances.register(&endpoint).await;
        Self {
            endpoint,
            _listener: listener,
            _line: line,
        }
    }
}

/// Registers an endpoint that accepts connections and closes them, as a proxy without its backend
/// does.
async fn register_closing(instances: &Instances) -> JoinHandle<()> {
    let endpoint = memory("closing");
    let mut listener = within(Listener::bind(&endpoint)).await.unwrap();
    instances.register(&endpoint).await;
    tokio::spawn(async move {
        while let Ok(mut connection) = listener.accept().await {
            // The request is lost.
            let _ = timeout(Duration::from_secs(1), connection.read_u32()).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_hangs_while_connecting_costs_a_part_of_the_timeout() {
    let mut instances = Instances::default();
    let _hanging = Hanging::register(&instances).await;
    let live = instances.add().await;
    let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
        .timeout(Duration::from_secs(6))
        .build()
        .unwrap();
    let start = Instant::now();
    let asking = (0..8).map(|_| ask(&remote));
    for answer in join_all(asking).await {
        assert_eq!(answer.unwrap(), live.to_string());
    }
    assert!(
        start.elapsed() <= Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_instance_is_ejected_after_one_call_with_a_short_timeout() {
    let mut instances = Instances::default();
    let _hanging = Hanging::register(&instances).await;
    instances.add().await;
    instances.add().await;
    let remote = instances.remote_with(Balance::RoundRobin);
    let options = CallOptions::new().timeout(Duration::from_secs(1));
    let start = Instant::now();
    for _ in 0..60 {
        let call = remote.process_with(Message::user("x"), &options);
        within(call).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    // One call waited for a third of its timeout. The others did not wait: probes run in the
    // background.
    let waited = start.elapsed() - Duration::from_millis(60);
    assert!(
        waited >= Duration::from_millis(300) && waited < Duration::from_millis(500),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_hanging_instance_is_ejected_even_if_every_call_is_dropped() {
    let mut instances = Instances::default();
    let _hanging = Hanging::register(&instances).await;
    instances.add().await;
    for max_in_flight in [1, 4] {
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .balance(Balance::RoundRobin)
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        let mut given_up = 0;
        for _ in 0..40 {
            let limit = Duration::from_millis(500);
            match timeout(limit, ask(&remote)).await {
                Ok(answer) => drop(answer.unwrap()),
                Err(_) => given_up += 1,
            }
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(given_up, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_queued_for_a_hanging_instance_move_to_another_together() {
    let mut instances = Instances::default();
    let _hanging = Hanging::register(&instances).await;
    let live = instances.add().await;
    for (max_connections, max_in_flight, calls) in [(64, 1, 200), (1, 16, 16), (1, 16, 100)] {
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .balance(Balance::RoundRobin)
            .max_connections(max_connections)
            .max_in_flight_per_connection(max_in_flight)
            .timeout(Duration::from_secs(6))
            .build()
            .unwrap();
        let start = Instant::now();
        let asking = (0..calls).map(|_| ask(&remote));
        for answer in join_all(asking).await {
            assert_eq!(answer.unwrap(), live.to_string());
        }
        assert!(
            start.elapsed() <= Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stops_hanging_is_called_again() {
    let mut instances = Instances::default();
    let hanging = Hanging::register(&instances).await;
    instances.add().await;
    let remote = instances.remote_with(Balance::RoundRobin);
    ask_often(&remote, 10).await;
    let endpoint = hanging.endpoint.clone();
    drop(hanging);
    let _server = instances.serve(&endpoint).await;
    let back = async {
        while ask(&remote).await.unwrap() != endpoint.to_string() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    within(back).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_short_timeout_does_not_eject_an_instance() {
    for max_in_flight in [1, 4] {
        let instances = Instances::default();
        let hanging = Hanging::register(&instances).await;
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        let patient = call_by_name(&remote);
        // If the calls share a connection, the other call opens it and this one waits.
        let options = CallOptions::new().timeout(Duration::from_millis(60));
        let hasty = remote.process_with(Message::user("x"), &options);
        within(hasty).await.unwrap_err();
        patient.abort();
        within(patient).await.unwrap_err();

        let endpoint = hanging.endpoint.clone();
        drop(hanging);
        let _server = instances.serve(&endpoint).await;
        let start = Instant::now();
        assert_eq!(ask(&remote).await.unwrap(), endpoint.to_string());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

/// Registers an instance with a permanent fault: the directory of its socket is a file.
async fn register_faulty(instances: &Instances) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let endpoint = Endpoint::unix(file.path().join("sock")).unwrap();
    instances.register(&endpoint).await;
    file
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_another_instance_despite_one_with_a_permanent_fault() {
    let instances = Instances::default();
    let _faulty = register_faulty(&instances).await;
    let remote = instances.remote();
    let start = Instant::now();
    let error = ask(&remote).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unreachable {
                source: Some(_),
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(start.elapsed(), Duration::ZERO, "waiting does not help");

    let restarting = register_dead(&instances).await;
    let calls: Vec<_> = (0..4).map(|_| call_by_name(&remote)).collect();
    sleep(Duration::from_secs(2)).await;
    let _server = instances.serve(&restarting).await;
    for call in calls {
        let reply = within(call).await.unwrap().unwrap();
        assert_eq!(reply.text(), Some(restarting.to_string().as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_closes_every_connection_gets_few_calls() {
    for max_in_flight in [1, 4] {
        let instances = Instances::with(2).await;
        let closing = register_closing(&instances).await;
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        let mut failed = 0;
        for _ in 0..2000 {
            match ask(&remote).await {
                Ok(_) => {}
                Err(Error::ConnectionClosed { .. }) => failed += 1,
                Err(other) => panic!("{other:?}"),
            }
            sleep(Duration::from_millis(5)).await;
        }
        // In 10 s: two calls before it is ejected, and one after each back-off, which grows to 2 s.
        assert!((2..=20).contains(&failed), "{failed}");
        closing.abort();
    }
}

/// Registers an endpoint that a server of other agents has taken over.
async fn register_usurped(instances: &Instances) -> LocalAgent {
    let endpoint = memory("usurped");
    let usurper = LocalAgent::builder(ScriptedAgent).strict_names(true);
    let usurper = usurper.endpoint(&endpoint).serve().await.unwrap();
    instances.register(&endpoint).await;
    usurper
}

#[tokio::test(start_paused = true)]
async fn a_server_of_other_agents_is_not_called() {
    let instances = Instances::with(2).await;
    let usurper = register_usurped(&instances).await;
    let remote = instances.remote_with(Balance::RoundRobin);
    assert_eq!(ask_often(&remote, 50).await.len(), 2);
    let mut chunks = remote.stream(Message::user("x"));
    let error = within(chunks.next()).await.unwrap().unwrap_err();
    assert!(!matches!(error, Error::AgentNotFound { .. }), "{error:?}");
    within(usurper.stop()).await;
}

#[tokio::test(start_paused = true)]
async fn if_no_server_hosts_the_agent_the_call_fails_at_once() {
    let instances = Instances::default();
    let usurpers = [
        register_usurped(&instances).await,
        register_usurped(&instances).await,
    ];
    let remote = instances.remote();
    let start = Instant::now();
    match ask(&remote).await.unwrap_err() {
        Error::AgentNotFound { context, .. } => {
            let at = |usurper: &LocalAgent| Some(usurper.endpoint()) == context.endpoint.as_ref();
            assert!(usurpers.iter().any(at), "{context}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Forwards its requests to another agent, and its errors back.
#[derive(Clone)]
struct Forwarding {
    next: RemoteAgent,
    asked: Arc<AtomicUsize>,
}

impl Agent for Forwarding {
    fn name(&self) -> &str {
        "weather"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        self.asked.fetch_add(1, Relaxed);
        Ok(self.next.process(message).await?)
    }

    fn stream(
        &self,
        message: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        self.asked.fetch_add(1, Relaxed);
        Agent::stream(&self.next, message, context)
    }
}

#[tokio::test]
async fn an_agent_that_fails_with_agent_not_found_has_handled_the_request() {
    let usurped = memory("usurped");
    let usurper = LocalAgent::builder(ScriptedAgent).strict_names(true);
    let usurper = within(usurper.endpoint(&usurped).serve()).await.unwrap();
    for (name, max_in_flight) in [("rain", 1), ("rain", 4), ("weather", 1), ("weather", 4)] {
        let next = RemoteAgent::builder(&usurped).name(name).build().unwrap();
        let asked = Arc::default();
        let agent = Forwarding { next, asked };
        let (instances, mut servers) = (Instances::default(), Vec::new());
        for _ in 0..3 {
            let endpoint = memory("forwarding");
            servers.push(LocalAgent::serve(agent.clone(), &endpoint).await.unwrap());
            instances.register(&endpoint).await;
        }
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        for calls in 1..=10 {
            let error = match calls % 2 {
                0 => ask(&remote).await.unwrap_err(),
                _ => {
                    let mut chunks = remote.stream(Message::user("x"));
                    within(chunks.next()).await.unwrap().unwrap_err()
                }
            };
            match error {
                Error::AgentNotFound { error, .. } => {
                    assert_eq!(error.details["agent_name"].as_str(), Some(name));
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(agent.asked.load(Relaxed), calls, "{name}");
        }
    }
    within(usurper.stop()).await;
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_error_names_the_cause_of_the_last_attempt() {
    let instances = Instances::default();
    let endpoint = memory("dropping");
    let mut listener = within(Listener::bind(&endpoint)).await.unwrap();
    instances.register(&endpoint).await;
    let dropping = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    // More than can be sent before the connection ends.
    let message = Message::user("x".repeat(1 << 20));
    match within(remote.process(message)).await.unwrap_err() {
        Error::Unreachable {
            source: Some(source),
            ..
        } => assert!(source.to_string().contains("dropping"), "{source}"),
        other => panic!("{other:?}"),
    }
    dropping.abort();
}

/// Registers an agent that accepts requests and never answers.
async fn register_silent(instances: &Instances) -> LocalAgent {
    let endpoint = memory("silent");
    let silent = agent_fn("weather", |_: Message| std::future::pending());
    let server = LocalAgent::serve(silent, &endpoint).await.unwrap();
    instances.register(&endpoint).await;
    server
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_answers_loses_its_calls() {
    for balance in [Balance::RoundRobin, Balance::PowerOfTwoChoices] {
        let instances = Instances::with(3).await;
        let _silent = register_silent(&instances).await;
        let remote = instances.remote_with(balance);
        let options = CallOptions::new().timeout(Duration::from_secs(1));
        let mut timeouts = 0;
        for _ in 0..600 {
            let call = remote.process_with(Message::user("x"), &options);
            match within(call).await {
                Ok(_) => {}
                Err(Error::Timeout { .. }) => timeouts += 1,
                Err(other) => panic!("{other:?}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
        // Five calls suspend the instance. In the following minute, trial calls go to it after
        // intervals that grow from 5 s.
        assert!((5..=14).contains(&timeouts), "{timeouts}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_fails_at_once_gets_at_most_its_share_of_calls() {
    let instances = Instances::default();
    let mut servers = Vec::new();
    for number in 0..4 {
        let endpoint = memory("instance");
        let agent = agent_fn("weather", move |message: Message| async move {
            if number == 0 {
                return Err(AgentError::with_code("OUT_OF_MEMORY", "out of memory"));
            }
            sleep(Duration::from_millis(10)).await;
            Ok(message)
        });
        servers.push(LocalAgent::serve(agent, &endpoint).await.unwrap());
        instances.register(&endpoint).await;
    }
    let remote = instances.remote();
    let callers = (0..16).map(|_| async {
        let mut failed = 0;
        for _ in 0..100 {
            failed += usize::from(ask(&remote).await.is_err());
        }
        failed
    });
    let failed: usize = join_all(callers).await.into_iter().sum();
    assert!(failed <= 1600 / 4, "{failed}");
}

#[tokio::test(start_paused = true)]
async fn calls_leave_an_instance_that_was_replaced_at_its_endpoint() {
    let instances = Instances::default();
    let endpoint = memory("shared address");
    let registration = Registration::new("weather", endpoint.clone());
    let first = registration.clone().with_instance("first");
    instances.registry.register(first.clone()).await.unwrap();
    let old = instances.serve(&endpoint).await;
    let remote = instances.remote();
    ask(&remote).await.unwrap();
    assert_eq!(remote.stats().idle, 1);

    instances
        .registry
        .unregister(&(&first).into())
        .await
        .unwrap();
    let second = registration.with_instance("second");
    instances.registry.register(second).await.unwrap();
    let is_closed = async {
        while remote.stats().idle > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(is_closed).await;
    ask(&remote).await.unwrap();
    within(old.stop()).await;
}

#[tokio::test(start_paused = true)]
async fn agents_that_only_the_registry_lost_are_still_called() {
    let mut instances = Instances::default();
    let endpoints = [instances.add().await, instances.add().await];
    let remote = instances.remote();
    ask(&remote).await.unwrap();
    // The agents send no heartbeats for much longer than a lease, and answer every call.
    for _ in 0..100 {
        sleep(Duration::from_secs(5)).await;
        ask(&remote).await.unwrap();
    }
    assert!(
        instances
            .registry
            .lookup("weather")
            .await
            .unwrap()
            .is_empty()
    );
    // Once an agent is back, the other one is not called any more.
    instances.register(&endpoints[0]).await;
    sleep(Duration::from_secs(1)).await;
    let answers = ask_often(&remote, 20).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
}
