//! Rust and Go call each other over Unix sockets, TCP, WebSocket and HTTP. The program in `go/` is an
//! independent implementation of PROTOCOL.md, and as strict as the Go adapter.

use agentwire::{
    EncodeError, Error, FrameError, Map, Message, PeerKind, RemoteAgent, RetryPolicy, Value,
};
use agentwire_interop_tests::{
    AgentKind, CaseClient, GoServer, TempEndpoint, TestFailure, TestResult, Wire, cases, expect,
    expect_that, list_go_cases, test_cases, within,
};
use futures_util::StreamExt;

mod rust_calls_go {
    use super::*;

    test_cases! {
        over_unix: run(Wire::JSON_OVER_UNIX);
        over_tcp: run(Wire::JSON_OVER_TCP);
        over_websocket: run(Wire::JSON_OVER_WEBSOCKET);
        over_http: run(Wire::JSON_OVER_HTTP);
        => [text] server_restart [rust]
        // The following cases exist only for Go.
        stream_of_one_text
        sorted_metadata
        ten_mib_message
        tools_are_not_supported
        descriptions_are_not_supported
        ping
        contents_are_refused_before_they_end_the_server
        other_contents_end_the_server_or_the_connection
    }

    async fn run(wire: Wire, case: &str) -> TestResult {
        // Boxed, because the future of all cases is large.
        within(Box::pin(async {
            let listen = TempEndpoint::new(wire.carrier)?;
            let kind = AgentKind::for_case(case);
            let mut server = GoServer::start(kind, listen.endpoint()).await?;
            let endpoint = server.endpoint().to_owned();
            let target = wire.target(&endpoint);
            let outcome = match case {
                "server_restart" => cases::server_restart(target, server.restart()).await,
                "stream_of_one_text" => stream_of_one_text(&endpoint).await,
                "sorted_metadata" => sorted_metadata(&endpoint).await,
                "ten_mib_message" => ten_mib_message(&endpoint).await,
                "tools_are_not_supported" => tools_are_not_supported(&endpoint).await,
                "descriptions_are_not_supported" => descriptions_are_not_supported(&endpoint).await,
                "ping" => ping(&endpoint).await,
                "contents_are_refused_before_they_end_the_server" => refused(&endpoint).await,
                "other_contents_end_the_server_or_the_connection" => {
                    return fatal(server, wire).await;
                }
                _ => cases::run(case, target).await,
            };
            outcome.map_err(|failure| server.explain(failure))
        }))
        .await
    }
}

mod go_calls_rust {
    use super::*;

    test_cases! {
        over_unix: run(Wire::JSON_OVER_UNIX);
        over_tcp: run(Wire::JSON_OVER_TCP);
        over_websocket: run(Wire::JSON_OVER_WEBSOCKET);
        over_http: run(Wire::JSON_OVER_HTTP);
        => [text] stream_one metadata ten_mib_message too_large_message unknown_tool
        unknown_method describe wrong_type server_restart
    }

    // A body of HTTP that is no envelope is completed (PROTOCOL 15.2).
    #[tokio::test]
    async fn bad_json_over_unix() -> TestResult {
        run(Wire::JSON_OVER_UNIX, "bad_json").await
    }

    #[tokio::test]
    async fn bad_json_over_tcp() -> TestResult {
        run(Wire::JSON_OVER_TCP, "bad_json").await
    }

    #[tokio::test]
    async fn bad_json_over_websocket() -> TestResult {
        run(Wire::JSON_OVER_WEBSOCKET, "bad_json").await
    }

    #[tokio::test]
    async fn these_are_the_cases_of_go() -> TestResult {
        let names = within(list_go_cases()).await?;
        expect("the number of cases", &names.len(), &21)
    }

    async fn run(wire: Wire, case: &str) -> TestResult {
        within(async {
            let listen = TempEndpoint::new(wire.carrier)?;
            let server = AgentKind::for_case(case).serve(listen.endpoint()).await?;
            let client = CaseClient::in_go(&server.endpoint().to_string(), case).await?;
            client.passes_against(server).await
        })
        .await
    }
}

fn client(endpoint: &str) -> Result<RemoteAgent, TestFailure> {
    let builder = RemoteAgent::builder(endpoint).name("interop");
    Ok(builder.peer(PeerKind::Go).build()?)
}

/// The case `stream_one` streams contents that are not text.
async fn stream_of_one_text(endpoint: &str) -> TestResult {
    let client = client(endpoint)?;
    let message = Message::user("chunk").with_metadata("count", 1);
    let chunks: Vec<_> = client.stream(message).collect().await;
    let [Ok(chunk)] = &chunks[..] else {
        return Err(TestFailure::new(format!("not one chunk: {chunks:?}")));
    };
    expect("the content", &chunk.text(), &Some("chunk #0"))?;
    echo(&client, "after the stream").await
}

/// Go sorts the keys of metadata, and reads numbers as floats of 64 bits.
async fn sorted_metadata(endpoint: &str) -> TestResult {
    let metadata: Value = r#"{"a": {"b": [1, {"c": null}], "d": {}}, "e": [], "f": 0.5,
        "g": 9007199254740992, "h": -7, "i": true, "j": "<&>"}"#
        .parse()?;
    let mut message = Message::user("with metadata");
    message.metadata = metadata.as_map().cloned().unwrap_or_default();
    let reply = client(endpoint)?.process(message.clone()).await?;
    expect("the metadata", &reply.metadata, &message.metadata)
}

/// Sends a frame of exactly 10 MiB, after a client has refused a larger one.
async fn ten_mib_message(endpoint: &str) -> TestResult {
    const LIMIT: usize = 10 * 1024 * 1024;
    let client = client(endpoint)?;
    let refused = client.process(Message::user("x".repeat(LIMIT))).await;
    let Err(Error::Encode {
        source: EncodeError::Frame(FrameError::TooLarge { len, max: LIMIT }),
        ..
    }) = refused
    else {
        return Err(TestFailure::new(format!("not refused: {refused:?}")));
    };
    // The time without its fraction would be shorter in one of a million messages.
    let content = "x".repeat(LIMIT - (len - LIMIT));
    let reply = client.process(Message::user(&*content)).await?;
    expect_that(reply.content == content, || {
        "the content of 10 MiB differs".to_owned()
    })
}

async fn tools_are_not_supported(endpoint: &str) -> TestResult {
    let client = client(endpoint)?;
    let result = client.execute("add", Map::from([("a", 1)])).await;
    expect_that(matches!(result, Err(Error::Unsupported { .. })), || {
        format!("not refused as unsupported: {result:?}")
    })?;
    echo(&client, "after the error").await
}

async fn descriptions_are_not_supported(endpoint: &str) -> TestResult {
    let client = client(endpoint)?;
    let result = client.describe().await;
    expect_that(matches!(result, Err(Error::Unsupported { .. })), || {
        format!("not refused as unsupported: {result:?}")
    })?;
    echo(&client, "after the error").await
}

async fn ping(endpoint: &str) -> TestResult {
    let client = client(endpoint)?;
    client.ping().await?;
    echo(&client, "after the ping").await
}

/// The client refuses contents that are not text, so the server goes on serving.
async fn refused(endpoint: &str) -> TestResult {
    let client = client(endpoint)?;
    for content in [Value::Null, 7.into(), vec![1].into(), Map::new().into()] {
        let result = client.process(Message::user(content)).await;
        let is_refused = matches!(result, Err(Error::UnreadableByPeer { key: "content", .. }));
        expect_that(is_refused, || format!("not refused: {result:?}"))?;
    }
    echo(&client, "after the refusals").await
}

/// Without `PeerKind::Go`, such a content ends the process over Unix sockets and TCP, and the
/// connection over WebSocket and HTTP (PROTOCOL 11).
async fn fatal(server: GoServer, wire: Wire) -> TestResult {
    let endpoint = server.endpoint().to_owned();
    let builder = RemoteAgent::builder(&*endpoint).retry(RetryPolicy::never());
    let careless = builder.build()?;
    let result = careless.process(Message::user(vec![1])).await;
    let is_lost = matches!(&result, Err(Error::ConnectionClosed { sent: true, .. }));
    expect_that(is_lost, || format!("not lost: {result:?}"))?;
    if matches!(wire, Wire::JSON_OVER_UNIX | Wire::JSON_OVER_TCP) {
        let panic = server.panics().await?;
        return expect_that(panic.contains("interface conversion"), || panic);
    }
    echo(&careless, "after the panic").await
}

async fn echo(client: &RemoteAgent, text: &str) -> TestResult {
    let reply = client.process(Message::user(text)).await?;
    expect("the content", &reply.text(), &Some(text))
}
