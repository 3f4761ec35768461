//! Calling by name where instances fail in odd ways: they hang, they close, others are at their endpoints.

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
    RequestContext, RetryPolicy,
    transport::{Connection, Listener},
};
use futures_core::Stream;
use futures_util::future::join_all;
use tokio::{
    io::AsyncReadExt,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// An endpoint where nobody is let in, and nobody is told so: a host that is switched off, say. For paused time.
struct Hanging {
    endpoint: Endpoint,
    _listener: Listener,
    /// As many as wait to be accepted; whoever comes now waits to be let in.
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

/// Accepts connections and closes them at once, as a proxy does whose backend is gone.
async fn register_closing(instances: &Instances) -> JoinHandle<()> {
    let endpoint = memory("closing");
    let mut listener = within(Listener::bind(&endpoint)).await.unwrap();
    instances.register(&endpoint).await;
    tokio::spawn(async move {
        while let Ok(mut connection) = listener.accept().await {
            // What it is sent is lost.
            let _ = timeout(Duration::from_secs(1), connection.read_u32()).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_hangs_while_connecting_costs_a_part_of_the_time() {
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
async fn an_instance_that_hangs_is_out_after_one_call_of_a_second() {
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
    // One call waited for a third of its time. The others did not, though it was tried again meanwhile.
    let waited = start.elapsed() - Duration::from_millis(60);
    assert!(
        waited >= Duration::from_millis(300) && waited < Duration::from_millis(500),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_hangs_is_out_even_if_nobody_waits_to_the_end() {
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
async fn calls_in_line_for_an_instance_that_hangs_go_elsewhere_together() {
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
async fn an_instance_that_hangs_is_called_again_when_it_hangs_no_more() {
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
async fn a_call_that_is_in_a_hurry_takes_no_instance_from_the_others() {
    for max_in_flight in [1, 4] {
        let instances = Instances::default();
        let hanging = Hanging::register(&instances).await;
        let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
            .max_in_flight_per_connection(max_in_flight)
            .build()
            .unwrap();
        let patient = call_by_name(&remote);
        // If they share a connection, the other one makes it, and this one only waits.
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

/// An instance whose fault does not pass: its socket's directory is a file.
async fn register_faulty(instances: &Instances) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let endpoint = Endpoint::unix(file.path().join("sock")).unwrap();
    instances.register(&endpoint).await;
    file
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_does_not_pass_is_no_reason_not_to_wait_for_another_instance() {
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
    assert_eq!(start.elapsed(), Duration::ZERO, "waiting mends nothing");

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
async fn an_instance_that_closes_every_connection_gets_a_call_now_and_then() {
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
        // In 10 s: two before it is out, and one after each wait, which grow to 2 s.
        assert!((2..=20).contains(&failed), "{failed}");
        closing.abort();
    }
}

/// The server of other agents has the endpoint by now.
async fn register_usurped(instances: &Instances) -> LocalAgent {
    let endpoint = memory("usurped");
    let usurper = LocalAgent::builder(ScriptedAgent).strict_names(true);
    let usurper = usurper.endpoint(&endpoint).serve().await.unwrap();
    instances.register(&endpoint).await;
    usurper
}

#[tokio::test(start_paused = true)]
async fn who_is_not_the_agent_is_left_alone() {
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
async fn if_nobody_is_the_agent_that_is_told_at_once() {
    let instances = Instances::default();
    let usurpers = [
        register_usurped(&instances).await,
        register_usurped(&instances).await,
    ];
    let remote = instances.remote();
    let start = Instant::now();
    match ask(&remote).await.unwrap_err() {
        Error::AgentNotFound { site, .. } => {
            let at = |usurper: &LocalAgent| *usurper.endpoint() == site.endpoint;
            assert!(usurpers.iter().any(at), "{site}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Asks another agent, and fails as that does.
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
async fn an_agent_that_does_not_find_another_has_worked_on_the_request_and_nobody_else_does() {
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
async fn why_the_last_connection_was_no_good_is_told() {
    let instances = Instances::default();
    let endpoint = memory("dropping");
    let mut listener = within(Listener::bind(&endpoint)).await.unwrap();
    instances.register(&endpoint).await;
    let dropping = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let remote = RemoteAgent::discover(instances.registry.clone(), "weather")
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    // More than goes out before the connection ends.
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
