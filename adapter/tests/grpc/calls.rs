//! Calls between agentwire's own client and server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use agentwire::{
    Endpoint, Error, LocalAgent, Map, Message, Proxy, RemoteAgent, RetryPolicy, Value, agent_fn,
    map,
    registry::{LocalRegistry, Query, Registry, RegistryServer, RemoteRegistry},
    stream_fn, value,
};
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    client, client_builder,
    common::{memory, until, within},
    raw::framed,
    serve, serve_with,
    shared_connection::{
        silent_connections_serve_no_further_calls, unread_streams_do_not_stop_other_calls,
    },
};

#[tokio::test]
async fn every_content_arrives_unchanged() {
    let server = serve().await;
    let remote = client(server.endpoint(), "echo");
    for content in [
        Value::from("hello"),
        "".into(),
        "42".into(),
        "null".into(),
        "\"q\"".into(),
        "caf\u{e9} \u{1f980}".into(),
        42.into(),
        1.5.into(),
        Value::Null,
        value!([1, {"a": [true, null]}]),
        "x".repeat(3_000_000).into(),
    ] {
        let reply = within(remote.process(Message::user(content.clone())))
            .await
            .unwrap();
        assert_eq!(reply.content, content);
        assert_eq!(reply.role, "agent");
    }
    let message = Message::user("x")
        .with_metadata("text", "t")
        .with_metadata("number", 1);
    let reply = within(remote.process(message)).await.unwrap();
    assert_eq!(reply.metadata, map! {"number": "1", "text": "t"});
    assert_eq!(remote.stats().open, 1, "all calls share a connection");
}

#[tokio::test]
async fn streams_tools_and_descriptions_travel_too() {
    let server = serve().await;
    let remote = client(server.endpoint(), "count");
    let mut chunks = remote.stream(Message::user("go"));
    let mut numbers = Vec::new();
    while let Some(chunk) = within(chunks.next()).await {
        numbers.push(chunk.unwrap().content.as_i64().unwrap());
    }
    assert_eq!(numbers, [1, 2, 3]);

    let result = within(remote.execute("add", map! {"a": 1, "b": 2}))
        .await
        .unwrap();
    assert_eq!(result.data, 3);
    let result = within(remote.execute("add", Map::new())).await.unwrap();
    assert_eq!(result.error.as_deref(), Some("two numbers are needed"));

    let described = within(remote.describe()).await.unwrap();
    let names: std::collections::BTreeSet<_> =
        described.agents.iter().map(|agent| &*agent.name).collect();
    assert_eq!(names, ["count", "echo"].into());
    within(remote.ping()).await.unwrap();
}

#[tokio::test]
async fn failures_are_the_same_errors_as_over_other_carriers() {
    let server = serve().await;
    let socket = memory("grpc-errors");
    let frames = crate::builder()
        .endpoint(socket.clone())
        .serve()
        .await
        .unwrap();
    for name in ["echo", "nobody"] {
        let ask = |endpoint: &Endpoint| {
            let remote = client(endpoint, name);
            async move {
                within(remote.process(Message::user("fail")))
                    .await
                    .unwrap_err()
            }
        };
        let (over_grpc, over_frames) = (ask(server.endpoint()).await, ask(frames.endpoint()).await);
        assert_eq!(
            std::mem::discriminant(&over_grpc),
            std::mem::discriminant(&over_frames)
        );
        let (theirs, ours) = (over_grpc.remote().unwrap(), over_frames.remote().unwrap());
        assert_eq!(theirs, ours);
        assert!(over_grpc.was_sent());
    }
    let remote = client(server.endpoint(), "echo");
    let unknown = within(remote.execute("dance", Map::new()))
        .await
        .unwrap_err();
    assert!(matches!(unknown, Error::ToolNotFound { .. }), "{unknown:?}");

    let remote = client(server.endpoint(), "count");
    let mut chunks = remote.stream(Message::user("fail"));
    for _ in 0..3 {
        within(chunks.next()).await.unwrap().unwrap();
    }
    let error = within(chunks.next()).await.unwrap().unwrap_err();
    assert_eq!(error.remote().unwrap().message, "out of numbers");
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_a_failed_connection() {
    let server = serve().await;
    let endpoint = server.endpoint().clone();
    server.stop().await;
    let error = within(client(&endpoint, "echo").process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(error.is_connect() && !error.was_sent(), "{error:?}");
    assert!(error.to_string().contains("grpc://127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn a_server_of_another_protocol_is_a_violation() {
    let server = crate::builder()
        .endpoint("tcp://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    let (host, port) = server.endpoint().host_and_port().unwrap();
    let remote = RemoteAgent::builder(format!("grpc://{host}:{port}")).retry(RetryPolicy::never());
    let error = within(remote.build().unwrap().process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(!error.is_timeout(), "{error:?}");
}

#[tokio::test]
async fn values_that_grpc_cannot_carry_are_not_sent() {
    let server = serve().await;
    let builder = client_builder(server.endpoint(), "echo");
    let remote = builder
        .format(agentwire::Format::MessagePack)
        .build()
        .unwrap();
    let bytes = Value::Bytes(b"x".to_vec().into());
    let error = within(remote.process(Message::user(bytes)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Encode { .. }), "{error:?}");
    assert!(!error.was_sent());
}

#[tokio::test]
async fn the_deadline_of_a_call_ends_its_handler() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let guard = Arc::clone(&dropped);
    let slow = agent_fn("slow", move |_: Message| {
        let guard = OnDrop(Arc::clone(&guard));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(Message::agent("never"))
        }
    });
    let server = serve_with(LocalAgent::builder(slow)).await;
    let builder = client_builder(server.endpoint(), "slow").timeout(Duration::from_millis(50));
    let error = within(builder.build().unwrap().process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    until("the handler is dropped", || dropped.load(SeqCst) == 1).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_handler() {
    let (started, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (begin, guard) = (Arc::clone(&started), Arc::clone(&dropped));
    let slow = agent_fn("slow", move |_: Message| {
        begin.fetch_add(1, SeqCst);
        let guard = OnDrop(Arc::clone(&guard));
        async move {
            let _guard = guard;
            std::future::pending::<()>().await;
            Ok(Message::agent("never"))
        }
    });
    let server = serve_with(LocalAgent::builder(slow)).await;
    let remote = client(server.endpoint(), "slow");
    let call = tokio::spawn({
        let remote = remote.clone();
        async move { remote.process(Message::user("x")).await }
    });
    until("the handler starts", || started.load(SeqCst) == 1).await;
    call.abort();
    until("the handler is dropped", || dropped.load(SeqCst) == 1).await;
    assert_eq!(remote.stats().open, 1, "only the call is cancelled");
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[tokio::test]
async fn many_calls_share_connections_up_to_the_limit_of_the_server() {
    let server = serve_with(crate::builder().max_in_flight_per_connection(8)).await;
    let remote = client(server.endpoint(), "echo");
    let calls = (0..200).map(|number| {
        let remote = remote.clone();
        async move { remote.process(Message::user(number)).await.unwrap().content }
    });
    let replies: Vec<_> = within(stream::iter(calls).buffered(64).collect()).await;
    assert_eq!(replies, (0..200).map(Value::from).collect::<Vec<_>>());
    assert!(remote.stats().open <= 64);
}

#[tokio::test]
async fn calls_share_one_connection_unless_the_client_allows_fewer() {
    let endless = stream_fn("endless", |_: Message| {
        stream::iter([Ok(Message::agent("begun"))]).chain(stream::pending())
    });
    let server = serve_with(LocalAgent::builder(endless)).await;
    for (max_in_flight, open) in [(None, 1), (Some(16), 4)] {
        let builder = client_builder(server.endpoint(), "endless");
        let remote = match max_in_flight {
            Some(calls) => builder.max_in_flight_per_connection(calls),
            None => builder,
        };
        let remote = remote.build().unwrap();
        let streams = (0..64).map(|_| {
            let remote = remote.clone();
            async move {
                let mut chunks = Box::pin(remote.stream(Message::user("x")));
                chunks.next().await.unwrap().unwrap();
                chunks
            }
        });
        let held = within(futures_util::future::join_all(streams)).await;
        assert_eq!(remote.stats().open, open);
        drop(held);
    }
}

#[tokio::test]
async fn streams_that_are_not_read_do_not_stop_other_calls() {
    unread_streams_do_not_stop_other_calls("grpc://127.0.0.1:0").await;
}

/// Accepts connections, and answers only the first request of each.
async fn fall_silent_after_one_answer(listener: TcpListener) {
    let status = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let status = status.clone();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            drop(request);
            let head = http::Response::builder().header("content-type", "application/grpc");
            let head = head.body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            let answer = agentwire_proto::Response {
                r#type: 1,
                message: Some(agentwire_proto::Message {
                    role: "agent".to_owned(),
                    ..agentwire_proto::Message::default()
                }),
                ..agentwire_proto::Response::default()
            };
            stream.send_data(framed(&answer).into(), false).unwrap();
            stream.send_trailers(status).unwrap();
            // The second request is taken, so that the first answer was sent. Then the connection is
            // kept, but not driven any more.
            let second = connection.accept().await;
            std::future::pending::<()>().await;
            drop((second, connection));
        });
    }
}

#[tokio::test]
async fn a_connection_that_is_silent_for_a_whole_call_serves_no_further_calls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    let endpoint: Endpoint = url.parse().unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(fall_silent_after_one_answer(listener)));
    let builder = client_builder(&endpoint, "echo").retry(RetryPolicy::never());
    let remote = builder.build().unwrap();
    silent_connections_serve_no_further_calls(&remote).await;
}

#[tokio::test]
async fn a_proxy_stands_between_grpc_and_frames_both_ways() {
    let server = crate::builder()
        .endpoint(memory("grpc-behind"))
        .serve()
        .await
        .unwrap();
    let to_frames =
        Proxy::builder(client_builder(server.endpoint(), "")).endpoint("grpc://127.0.0.1:0");
    let to_frames = to_frames.serve().await.unwrap();
    let to_grpc =
        Proxy::builder(client_builder(to_frames.endpoint(), "")).endpoint(memory("grpc-front"));
    let to_grpc = to_grpc.serve().await.unwrap();
    for endpoint in [to_frames.endpoint(), to_grpc.endpoint()] {
        let remote = client(endpoint, "echo");
        let message = Message::user(value!({"a": ["42", 42]}));
        let reply = within(remote.process(message.clone())).await.unwrap();
        assert_eq!(reply.content, message.content);
        let result = within(remote.execute("add", map! {"a": 1, "b": 2}))
            .await
            .unwrap();
        assert_eq!(result.data, 3);
        let error = within(remote.process(Message::user("fail")))
            .await
            .unwrap_err();
        assert_eq!(error.remote().unwrap().message, "deliberate failure");
        let chunks = client(endpoint, "count").stream(Message::user("go"));
        let chunks: Vec<_> = within(chunks.map(|chunk| chunk.unwrap().content).collect()).await;
        assert_eq!(chunks, [1, 2, 3].map(Value::from));
    }
}

#[tokio::test]
async fn a_registry_holds_and_speaks_grpc() {
    let registry = RegistryServer::builder(LocalRegistry::new())
        .endpoint("grpc://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    let remote = RemoteRegistry::new(registry.endpoint()).unwrap();
    let frames = crate::builder()
        .endpoint("tcp://127.0.0.1:0")
        .registry(remote.clone());
    let frames = frames.serve().await.unwrap();
    let grpc = serve_with(crate::builder().registry(remote.clone())).await;
    // Servers register in the background.
    within(async {
        while remote.find(&Query::new().name("echo")).await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let caller = RemoteAgent::discover(remote, "echo").build().unwrap();
    let mut served = std::collections::BTreeSet::new();
    for number in 0..20 {
        let reply = within(caller.process(Message::user(number))).await.unwrap();
        assert_eq!(reply.content, number);
        served.insert(caller.stats().open);
    }
    assert!(served.contains(&2), "calls are balanced over both carriers");
    drop((frames, grpc));
}
