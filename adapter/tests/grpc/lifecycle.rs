//! How servers stop, evict connections, and answer health checks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire::{LocalAgent, Message, agent_fn};
use agentwire_proto::health::{HealthCheckRequest, HealthCheckResponse};
use tokio::sync::Semaphore;

use crate::{
    builder, client,
    common::{until, within},
    raw::{PROCESS, RawClient, framed, read, request, unframed},
    serve, serve_with,
};

/// An agent that answers when it is allowed to, and the number of its calls.
fn gated() -> (impl agentwire::Agent, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (gate, started) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (opened, begun) = (Arc::clone(&gate), Arc::clone(&started));
    let agent = agent_fn("echo", move |message: Message| {
        let gate = Arc::clone(&opened);
        begun.fetch_add(1, SeqCst);
        async move {
            let _permit = gate.acquire().await;
            Ok(Message::agent(message.content))
        }
    });
    (agent, gate, started)
}

#[tokio::test]
async fn a_server_that_stops_answers_what_is_in_flight() {
    let (agent, gate, started) = gated();
    let server = serve_with(LocalAgent::builder(agent)).await;
    let endpoint = server.endpoint().clone();
    let remote = client(&endpoint, "echo");
    let call = tokio::spawn(async move { remote.process(Message::user("x")).await });
    until("the handler starts", || started.load(SeqCst) == 1).await;
    let mut raw = RawClient::connect(&endpoint).await;
    let (response, mut body) = raw.start(PROCESS, &[]).await;
    // The server has accepted the call when it has answered a later one.
    let ask = framed(&HealthCheckRequest::default());
    let check = raw.exchange("/grpc.health.v1.Health/Check", &[], ask.clone());
    assert_eq!(check.await.unwrap().body, state(1));
    let (health, mut watch) = raw.start("/grpc.health.v1.Health/Watch", &[]).await;
    watch.send_data(ask.into(), true).unwrap();
    let mut health = within(health).await.unwrap().into_body();
    assert_eq!(within(health.data()).await.unwrap().unwrap(), state(1));

    let stopping = tokio::spawn(async move { server.stop().await });
    assert_eq!(within(health.data()).await.unwrap().unwrap(), state(2));
    // A request that arrives now is refused as unstarted.
    body.send_data(framed(&request("late")).into(), true)
        .unwrap();
    let refused = within(read(response)).await.unwrap();
    let refused = unframed::<agentwire_proto::Response>(&refused.body).remove(0);
    let error = refused.error.unwrap();
    assert_eq!(error.code, "AGENT_UNAVAILABLE");
    assert_eq!(error.details["reason"], "stopping");

    gate.add_permits(1);
    assert_eq!(within(call).await.unwrap().unwrap().content, "x");
    within(stopping).await.unwrap();
}

/// The message of the health service with this state.
fn state(status: i32) -> Vec<u8> {
    framed(&HealthCheckResponse { status })
}

#[tokio::test]
async fn a_restarted_server_is_called_over_a_new_connection() {
    let server = serve().await;
    let endpoint = server.endpoint().clone();
    let remote = client(&endpoint, "echo");
    within(remote.process(Message::user(1))).await.unwrap();
    server.stop().await;
    until("the connection is closed", || remote.stats().open == 0).await;
    let _server = builder().endpoint(endpoint).serve().await.unwrap();
    within(remote.process(Message::user(2))).await.unwrap();
    assert_eq!(remote.stats().reconnects, 1);
}

#[tokio::test]
async fn a_new_connection_replaces_an_idle_one_at_the_limit() {
    let server = serve_with(builder().max_connections(2)).await;
    let mut first = RawClient::connect(server.endpoint()).await;
    first.process("a").await;
    let mut second = RawClient::connect(server.endpoint()).await;
    second.process("b").await;
    let mut third = RawClient::connect(server.endpoint()).await;
    assert_eq!(third.process("c").await.message.unwrap().content, "c");
    // The server has told the first connection that it ends.
    within(&mut first.driver).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let server = serve_with(builder().idle_timeout(Duration::from_millis(50))).await;
    let mut idle = RawClient::connect(server.endpoint()).await;
    idle.process("a").await;
    within(&mut idle.driver).await.unwrap().unwrap();
}

/// Opens a call that waits for as long as its caller likes, which needs no credential.
async fn wait_at(raw: &mut RawClient, path: &str) -> h2::RecvStream {
    let (response, mut body) = raw.start(path, &[]).await;
    if path == WATCH {
        let ask = framed(&HealthCheckRequest::default());
        body.send_data(ask.into(), true).unwrap();
    } else {
        // A stream that is dropped is reset.
        tokio::spawn(async move {
            let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
        });
    }
    within(response).await.unwrap().into_body()
}

#[tokio::test]
async fn calls_that_are_not_for_agents_do_not_keep_a_connection() {
    let server = serve_with(builder().idle_timeout(Duration::from_millis(50))).await;
    for path in [WATCH, REFLECTION] {
        let mut idle = RawClient::connect(server.endpoint()).await;
        let _call = wait_at(&mut idle, path).await;
        // The call was open, so the end may be an error.
        let _ = within(&mut idle.driver).await.unwrap();
    }
    // At the limit of connections, they give way.
    let server = serve_with(builder().max_connections(2)).await;
    let mut first = RawClient::connect(server.endpoint()).await;
    let _watch = wait_at(&mut first, WATCH).await;
    let mut second = RawClient::connect(server.endpoint()).await;
    let _reflection = wait_at(&mut second, REFLECTION).await;
    for _ in 0..3 {
        let mut third = RawClient::connect(server.endpoint()).await;
        third.process("c").await;
    }
    let _ = within(&mut first.driver).await.unwrap();
    let _ = within(&mut second.driver).await.unwrap();
}

#[tokio::test]
async fn pings_are_answered_and_never_punished() {
    let server = serve().await;
    let (host, port) = server.endpoint().host_and_port().unwrap();
    let stream = tokio::net::TcpStream::connect((host, port)).await.unwrap();
    let (sender, mut connection) = h2::client::handshake::<_>(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let driver = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(connection));
    for _ in 0..100 {
        within(pings.ping(h2::Ping::opaque())).await.unwrap();
    }
    let mut raw = RawClient { sender, driver };
    raw.process("still here").await;
}

#[tokio::test]
async fn the_health_of_each_service_is_known() {
    let server = serve().await;
    let mut raw = RawClient::connect(server.endpoint()).await;
    for (service, status) in [("", "0"), ("agenkit.AgentService", "0"), ("nothing", "5")] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = raw
            .exchange("/grpc.health.v1.Health/Check", &[], framed(&request))
            .await;
        assert_eq!(answer.unwrap().status.unwrap().0, status, "{service}");
    }
}

const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
