//! Whole calls, over every carrier.

use crate::common::{ScriptedAgent, memory, within};
use agentwire::{
    Agent, AgentError, CallOptions, Endpoint, Error, ErrorCode, Format, FrameLimits, LocalAgent,
    Map, Message, RemoteAgent, RequestContext, RetryPolicy, SharedAgent, Value, agent_fn,
};
use tempfile::TempDir;

/// A server for each carrier, and the directory of the socket.
async fn servers(test: &str) -> (Vec<LocalAgent>, TempDir) {
    let directory = TempDir::new().unwrap();
    let endpoints = [
        Endpoint::unix(directory.path().join("agent.sock")).unwrap(),
        "tcp://127.0.0.1:0".parse().unwrap(),
        memory(test),
        #[cfg(feature = "websocket")]
        "ws://127.0.0.1:0/agents".parse().unwrap(),
    ];
    let mut servers = Vec::new();
    for endpoint in endpoints {
        servers.push(
            within(LocalAgent::serve(ScriptedAgent, endpoint))
                .await
                .unwrap(),
        );
    }
    (servers, directory)
}

#[tokio::test]
async fn a_call_returns_content_and_metadata_unchanged() {
    let (servers, _directory) = servers("round-trip").await;
    for server in &servers {
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let content = Value::from(vec![
            Value::from("é🦀"),
            Value::Null,
            Value::from(u128::MAX),
            Value::from(f64::NAN),
            Value::from(Map::from([("b", 1), ("a", 2)])),
        ]);
        let message = Message::user(content.clone()).with_metadata("trace", "abc");
        let reply = within(remote.process(message)).await.unwrap();
        assert_eq!(reply.content, content);
        assert_eq!(reply.metadata, Map::from([("trace", "abc")]));
        assert_eq!(reply.role, "agent");
    }
}

#[tokio::test]
async fn a_message_of_several_megabytes_is_answered() {
    let (servers, _directory) = servers("large").await;
    for server in &servers {
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let text = "x".repeat(4 << 20);
        let reply = within(remote.process(Message::user(text.as_str())))
            .await
            .unwrap();
        assert_eq!(reply.text(), Some(text.as_str()));
    }
}

#[tokio::test]
async fn sequential_calls_share_a_connection() {
    let endpoint = memory("sequential");
    // The server accepts a single connection.
    let builder = LocalAgent::builder(ScriptedAgent).max_connections(1);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    for i in 0..100 {
        let reply = within(remote.process(Message::user(i))).await.unwrap();
        assert_eq!(reply.content, Value::from(i));
    }
    let clone = remote.clone();
    within(clone.process(Message::user("by the clone")))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_each_get_their_own_answer() {
    let (servers, _directory) = servers("concurrent").await;
    for server in &servers {
        let remote = RemoteAgent::builder(server.endpoint())
            .max_connections(8)
            .build()
            .unwrap();
        let calls = (0..200).map(|i| {
            let remote = remote.clone();
            tokio::spawn(async move {
                let reply = within(remote.process(Message::user(i))).await.unwrap();
                assert_eq!(reply.content, Value::from(i));
            })
        });
        for call in calls.collect::<Vec<_>>() {
            within(call).await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_agents_error_arrives_with_code_text_and_details() {
    let (servers, _directory) = servers("error").await;
    for server in &servers {
        let remote = RemoteAgent::builder(server.endpoint())
            .name("scripted")
            .build()
            .unwrap();
        let message = Message::user("x").with_metadata("do", "fail");
        let error = within(remote.process(message)).await.unwrap_err();
        assert!(error.is_remote() && !error.is_timeout() && !error.is_disconnected());
        let remote_error = error.remote().unwrap();
        assert_eq!(remote_error.code, ErrorCode::from("OUT_OF_STOCK"));
        assert_eq!(remote_error.message, "out of stock");
        assert_eq!(remote_error.details, Map::from([("missing", 3)]));
        let text = error.to_string();
        let place = server.endpoint().to_string();
        assert!(
            text.contains("\"scripted\"") && text.contains(&place),
            "{text}"
        );
        // The connection stays usable.
        within(remote.process(Message::user("again")))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_panic_is_answered_and_the_connection_stays_usable() {
    let endpoint = memory("panic");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let error = within(remote.process(Message::user("x").with_metadata("do", "panic"))).await;
    let error = error.unwrap_err();
    assert_eq!(error.remote().unwrap().code, ErrorCode::INTERNAL_ERROR);
    assert_eq!(error.remote().unwrap().message, "agent panicked");
    within(remote.process(Message::user("again")))
        .await
        .unwrap();
}

#[tokio::test]
async fn remote_agents_stand_in_for_local_ones_and_forward_errors_unchanged() {
    let (first, second) = (memory("behind"), memory("before"));
    let _first = within(LocalAgent::serve(ScriptedAgent, &first))
        .await
        .unwrap();
    let _second = within(LocalAgent::serve(
        RemoteAgent::new(&first).unwrap(),
        &second,
    ))
    .await
    .unwrap();
    let remote = RemoteAgent::new(&second).unwrap();

    let reply = within(remote.process(Message::user("through")))
        .await
        .unwrap();
    assert_eq!(reply.text(), Some("through"));

    let error = within(remote.process(Message::user("x").with_metadata("do", "fail"))).await;
    let error = error.unwrap_err();
    assert_eq!(
        error.remote().unwrap().code,
        ErrorCode::from("OUT_OF_STOCK")
    );
    assert_eq!(error.remote().unwrap().message, "out of stock");
    assert_eq!(error.remote().unwrap().details, Map::from([("missing", 3)]));

    let mut stream = remote.stream(Message::user("x").with_metadata("fail_after", 1));
    assert!(within(stream.next()).await.unwrap().is_ok());
    let error = within(stream.next()).await.unwrap().unwrap_err();
    assert_eq!(error.remote().unwrap().message, "failed after 1");
}

#[tokio::test]
async fn agents_of_different_types_are_called_alike() {
    let endpoint = memory("boxed");
    let closure = agent_fn("closure", |message: Message| async move {
        let number: i64 = message.text().unwrap_or_default().parse()?;
        Ok(Message::agent(number * 2))
    });
    let _server = within(LocalAgent::serve(closure.clone(), &endpoint))
        .await
        .unwrap();
    let agents = [
        SharedAgent::new(closure),
        SharedAgent::new(RemoteAgent::new(&endpoint).unwrap()),
    ];
    for agent in &agents {
        let reply = within(agent.process(Message::user("21"), RequestContext::new()))
            .await
            .unwrap();
        assert_eq!(reply.content, Value::from(42));
        let error: AgentError = within(agent.process(Message::user("x"), RequestContext::new()))
            .await
            .unwrap_err();
        assert_eq!(error.message(), "invalid digit found in string");
    }
    assert_eq!(agents[0].name(), "closure");
    assert_eq!(agents[1].name(), endpoint.to_string());
}

#[tokio::test]
async fn a_message_that_cannot_be_encoded_fails_before_it_is_sent() {
    let endpoint = memory("unsendable");
    let builder = LocalAgent::builder(ScriptedAgent).max_connections(1);
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let limits = FrameLimits::default().send(1000);
    let remote = RemoteAgent::builder(&endpoint)
        .frame_limits(limits)
        .build()
        .unwrap();
    within(remote.process(Message::user("fits"))).await.unwrap();
    let bytes = Value::from(bytes::Bytes::from_static(b"raw"));
    for message in [
        Message::user("x".repeat(1000)),
        Message::user(bytes),
        Message::new("", "x"),
    ] {
        let error = within(remote.process(message.clone())).await.unwrap_err();
        assert!(matches!(error, Error::Encode { .. }), "{error}");
        let error = within(remote.stream(message).next())
            .await
            .unwrap()
            .unwrap_err();
        assert!(error.is_encode() && !error.was_sent(), "{error}");
    }
    within(remote.process(Message::user("still fits")))
        .await
        .unwrap();
}

#[tokio::test]
async fn an_answer_over_the_servers_limit_becomes_an_error_that_says_so() {
    let endpoint = memory("large-answer");
    let large = agent_fn("large", |_: Message| async {
        Ok(Message::agent("x".repeat(5000)))
    });
    let builder = LocalAgent::builder(large).frame_limits(FrameLimits::default().send(1000));
    let _server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert_eq!(error.remote().unwrap().code, ErrorCode::INTERNAL_ERROR);
    assert!(
        error.remote().unwrap().message.contains("limit of 1000"),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_over_the_clients_limit_is_a_typed_error() {
    let endpoint = memory("small-client");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let limits = FrameLimits::default().receive(1000);
    let remote = RemoteAgent::builder(&endpoint)
        .frame_limits(limits)
        .build()
        .unwrap();
    let error = within(remote.process(Message::user("x".repeat(2000))))
        .await
        .unwrap_err();
    assert!(error.is_protocol(), "{error}");
    within(remote.process(Message::user("x"))).await.unwrap();
}

#[tokio::test]
async fn an_endpoint_without_a_server_is_a_connection_failure_with_its_cause() {
    let directory = TempDir::new().unwrap();
    let nobody = [
        Endpoint::unix(directory.path().join("none.sock")).unwrap(),
        memory("nobody"),
        // A port that was free a moment ago, without a listener.
        {
            let server = LocalAgent::serve(ScriptedAgent, "tcp://127.0.0.1:0")
                .await
                .unwrap();
            let endpoint = server.endpoint().clone();
            within(server.stop()).await;
            endpoint
        },
    ];
    for endpoint in nobody {
        let builder = RemoteAgent::builder(&endpoint).retry(RetryPolicy::never());
        let remote = builder.build().unwrap();
        let error = within(remote.process(Message::user("x")))
            .await
            .unwrap_err();
        assert!(error.is_connect() && !error.was_sent(), "{error}");
        assert_eq!(error.code(), ErrorCode::CONNECTION_FAILED);
        assert!(error.to_string().contains(&endpoint.to_string()));
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[tokio::test]
async fn invalid_settings_are_errors_before_anything_happens() {
    for bad in ["h3://host", "unix://", "tcp://host", "nonsense"] {
        assert!(
            matches!(RemoteAgent::new(bad), Err(Error::InvalidEndpoint(_))),
            "{bad}"
        );
        let served = within(LocalAgent::serve(ScriptedAgent, bad)).await;
        assert!(matches!(served, Err(Error::InvalidEndpoint(_))), "{bad}");
    }
    let client = RemoteAgent::builder("memory://x")
        .max_connections(0)
        .build();
    assert!(matches!(
        client,
        Err(Error::InvalidSetting {
            setting: "max_connections",
            ..
        })
    ));
    let server = LocalAgent::builder(ScriptedAgent).max_in_flight_per_connection(0);
    let served = within(server.endpoint(memory("bad-settings")).serve()).await;
    assert!(matches!(served, Err(Error::InvalidSetting { .. })));
}

#[tokio::test]
async fn an_endpoint_in_use_is_refused_and_its_server_unharmed() {
    let (servers, _directory) = servers("in-use").await;
    for server in &servers {
        let second = within(LocalAgent::serve(ScriptedAgent, server.endpoint())).await;
        assert!(
            matches!(second, Err(Error::Listen(_))),
            "{}",
            server.endpoint()
        );
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        within(remote.process(Message::user("x"))).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_times_out_and_the_next_gets_its_own_answer() {
    let endpoint = memory("timeout");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let hang = Message::user("x").with_metadata("do", "hang");
    let options = CallOptions::new().timeout(std::time::Duration::from_millis(50));
    let error = within(remote.process_with(hang, &options))
        .await
        .unwrap_err();
    assert!(error.is_timeout() && error.was_sent(), "{error}");
    assert_eq!(error.code(), ErrorCode::AGENT_TIMEOUT);
    let reply = within(remote.process(Message::user("mine"))).await.unwrap();
    assert_eq!(reply.text(), Some("mine"));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_free_connection_counts_towards_the_timeout() {
    let endpoint = memory("queueing");
    let _server = within(LocalAgent::serve(ScriptedAgent, &endpoint))
        .await
        .unwrap();
    let remote = RemoteAgent::builder(&endpoint)
        .max_connections(1)
        .build()
        .unwrap();
    let hang = remote.process(Message::user("x").with_metadata("do", "hang"));
    let waits = async {
        let options = CallOptions::new().timeout(std::time::Duration::from_secs(1));
        remote.process_with(Message::user("x"), &options).await
    };
    let (hung, error) = within(Box::pin(async {
        tokio::join!(biased; tokio::time::timeout(std::time::Duration::from_secs(5), hang), waits)
    }))
    .await;
    assert!(hung.is_err());
    let error = error.unwrap_err();
    assert!(error.is_timeout() && !error.was_sent(), "{error}");
    assert_eq!(error.code(), ErrorCode::CONNECTION_TIMEOUT);
}

#[tokio::test]
async fn the_longest_possible_timeout_does_not_overflow() {
    let endpoint = memory("for-ever");
    let builder = LocalAgent::builder(ScriptedAgent)
        .idle_timeout(std::time::Duration::MAX)
        .frame_timeout(std::time::Duration::MAX)
        .write_timeout(std::time::Duration::MAX)
        .shutdown_timeout(std::time::Duration::MAX);
    let server = within(builder.endpoint(&endpoint).serve()).await.unwrap();
    let remote = RemoteAgent::builder(&endpoint)
        .timeout(std::time::Duration::MAX)
        .build()
        .unwrap();
    within(remote.process(Message::user("x"))).await.unwrap();
    within(server.stop()).await;
}

#[tokio::test]
async fn one_server_answers_json_and_messagepack_at_the_same_time() {
    let (servers, _directory) = servers("formats").await;
    for server in &servers {
        let json = RemoteAgent::new(server.endpoint()).unwrap();
        let builder = RemoteAgent::builder(server.endpoint()).format(Format::MessagePack);
        let msgpack = builder.build().unwrap();
        let raw = Value::from(bytes::Bytes::from_static(b"\x00\xff"));
        let (text, bytes) = within(async {
            tokio::join!(
                json.process(Message::user("é")),
                msgpack.process(Message::user(raw.clone()))
            )
        })
        .await;
        assert_eq!(text.unwrap().text(), Some("é"));
        assert_eq!(bytes.unwrap().content, raw);

        let mut stream = msgpack.stream(Message::user(raw.clone()).with_metadata("fail_after", 1));
        assert_eq!(within(stream.next()).await.unwrap().unwrap().content, raw);
        let error = within(stream.next()).await.unwrap().unwrap_err();
        assert_eq!(error.remote().unwrap().message, "failed after 1");

        let error = within(msgpack.process(Message::user(u128::MAX)))
            .await
            .unwrap_err();
        assert!(error.is_encode(), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_the_callers_format_lacks_becomes_an_error_that_says_so() {
    let endpoint = memory("raw-answer");
    let raw = agent_fn("raw", |_: Message| async {
        Ok(Message::agent(bytes::Bytes::from_static(b"raw")))
    });
    let _server = within(LocalAgent::serve(raw, &endpoint)).await.unwrap();
    let remote = RemoteAgent::new(&endpoint).unwrap();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert_eq!(error.remote().unwrap().code, ErrorCode::INTERNAL_ERROR);
    assert!(
        error
            .remote()
            .unwrap()
            .message
            .contains("bytes have no JSON form"),
        "{error}"
    );
}
