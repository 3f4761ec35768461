//! A client of agents over HTTP, against servers of this crate and of other kinds.

use std::time::Duration;

use agentwire::{
    CallOptions, Endpoint, Error, LocalAgent, Map, Message, Proxy, RemoteAgent, RetryPolicy,
    ToolResult,
    registry::{LocalRegistry, Registration, Registry, RegistryServer, RemoteRegistry},
    tool_fn,
};
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::common::{ScriptedAgent, within};

async fn serve(scheme: &str) -> LocalAgent {
    let add = tool_fn("add", |kwargs: Map| async move {
        let number = |key| kwargs[key].as_i64().unwrap_or_default();
        Ok(ToolResult::success(number("a") + number("b")))
    });
    let builder = LocalAgent::builder(ScriptedAgent)
        .tool(add)
        .endpoint(format!("{scheme}://127.0.0.1:0/agents/a"));
    within(builder.serve()).await.unwrap()
}

const SCHEMES: [&str; 2] = ["http", "h2c"];

#[tokio::test]
async fn calls_streams_tools_and_descriptions_work_over_http1_and_http2() {
    for scheme in SCHEMES {
        let server = serve(scheme).await;
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        for _ in 0..3 {
            let reply = within(remote.process(Message::user("h\u{e9}\u{2028}")))
                .await
                .unwrap();
            assert_eq!(reply.text(), Some("h\u{e9}\u{2028}"));
            let stream = remote.stream(Message::user("x")).collect::<Vec<_>>();
            let chunks = within(stream).await;
            assert_eq!(chunks.len(), 3);
            assert!(chunks.iter().all(Result::is_ok), "{chunks:?}");
            let result = remote.execute("add", Map::from([("a", 2), ("b", 3)]));
            assert_eq!(
                within(result).await.unwrap().data,
                agentwire::Value::from(5)
            );
        }
        let described = within(remote.describe()).await.unwrap();
        assert_eq!(described.agents[0].name, "scripted");
        within(remote.ping()).await.unwrap();
        assert_eq!(
            remote.stats().open,
            1,
            "{scheme}: one connection serves all"
        );
        within(server.stop()).await;
    }
}

#[tokio::test]
async fn errors_keep_their_codes_and_details() {
    for scheme in SCHEMES {
        let server = serve(scheme).await;
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let fail = Message::user("x").with_metadata("do", "fail");
        let error = within(remote.process(fail)).await.unwrap_err();
        assert_eq!(error.code().as_str(), "OUT_OF_STOCK");
        let wire = error.remote().expect("an error of the agent");
        assert_eq!(wire.details["missing"], 3);
        let fail = Message::user("x").with_metadata("fail_after", 1);
        let mut stream = std::pin::pin!(remote.stream(fail));
        assert!(within(stream.next()).await.unwrap().is_ok());
        let error = within(stream.next()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("failed after 1"), "{error}");
        let error = within(remote.execute("nope", Map::new()))
            .await
            .unwrap_err();
        assert_eq!(error.code().as_str(), "TOOL_NOT_FOUND");
    }
}

#[tokio::test]
async fn many_calls_at_once_and_large_messages_work() {
    for scheme in SCHEMES {
        let server = serve(scheme).await;
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let large = "x".repeat(512 * 1024);
        let calls = (0..40).map(|i| {
            let (remote, text) = (remote.clone(), if i == 7 { &large } else { "x" });
            async move {
                remote
                    .process(Message::user(text))
                    .await
                    .unwrap()
                    .text()
                    .map(str::len)
            }
        });
        let lens = within(futures_util::future::join_all(calls)).await;
        assert_eq!(lens.iter().filter(|len| **len == Some(1)).count(), 39);
        assert_eq!(lens[7], Some(large.len()));
        let open = remote.stats().open;
        assert!(open == if scheme == "h2c" { 1 } else { open }, "{open}");
    }
}

#[tokio::test]
async fn a_dropped_stream_stops_the_agent_and_later_calls_work() {
    for scheme in SCHEMES {
        let server = serve(scheme).await;
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let endless = Message::user("x").with_metadata("count", 1_000_000_000_u64);
        let mut stream = Box::pin(remote.stream(endless));
        assert!(within(stream.next()).await.unwrap().is_ok());
        drop(stream);
        within(remote.process(Message::user("x"))).await.unwrap();
        // The server drains only if the stream has ended.
        within(server.stop()).await;
    }
}

#[tokio::test]
async fn a_call_times_out_in_its_phase_and_the_next_one_works() {
    for scheme in SCHEMES {
        let server = serve(scheme).await;
        let remote = RemoteAgent::new(server.endpoint()).unwrap();
        let hang = Message::user("x").with_metadata("do", "hang");
        let options = CallOptions::new().timeout(Duration::from_millis(50));
        let error = within(remote.process_with(hang, &options))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        within(remote.process(Message::user("x"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_survives_a_restart_of_the_server() {
    for scheme in SCHEMES {
        let server = serve(scheme).await;
        let endpoint = server.endpoint().clone();
        let remote = RemoteAgent::new(&endpoint).unwrap();
        within(remote.process(Message::user("x"))).await.unwrap();
        within(server.stop()).await;
        let builder = LocalAgent::builder(ScriptedAgent).endpoint(&endpoint);
        let _again = within(builder.serve()).await.unwrap();
        within(remote.process(Message::user("x"))).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_connection_is_not_sent() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    for scheme in SCHEMES {
        let remote = RemoteAgent::builder(format!("{scheme}://127.0.0.1:{port}"))
            .retry(RetryPolicy::never())
            .build()
            .unwrap();
        let error = within(remote.process(Message::user("x")))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::ConnectionFailed { .. }), "{error:?}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            source.contains(&format!("{scheme}://127.0.0.1:{port}")),
            "{source}"
        );
    }
}

/// A server that sends fixed answers, one for each request, and closes the connection after the
/// last.
async fn fixed(answers: Vec<String>) -> (Endpoint, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            requests.push(read_request(&mut stream).await);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        drop(stream);
        requests
    });
    let endpoint = format!("http://127.0.0.1:{port}/base").parse().unwrap();
    (endpoint, served)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let len = head.to_lowercase();
            let len = len.split("content-length: ").nth(1).unwrap_or("0");
            let len: usize = len.lines().next().unwrap().parse().unwrap();
            if body.len() >= len {
                return text;
            }
        }
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the client left");
        request.extend_from_slice(&buffer[..read]);
    }
}

fn json(status: u16, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len}\r\n\r\n{body}"
    )
}

fn once(endpoint: &Endpoint) -> RemoteAgent {
    let builder = RemoteAgent::builder(endpoint).retry(RetryPolicy::never());
    builder.build().unwrap()
}

const PYTHON: &str = r#"{"id": "x", "type": "response", "version": "1.0", "payload": {"message": {"role": "agent", "content": "hi", "metadata": {}, "timestamp": "2026-11-29T00:00:00+00:00"}}}"#;

#[tokio::test]
async fn a_request_has_the_path_the_headers_and_the_envelope() {
    let (endpoint, served) = fixed(vec![json(200, PYTHON)]).await;
    let remote = once(&endpoint);
    let reply = within(remote.process(Message::user("x"))).await.unwrap();
    assert_eq!(reply.text(), Some("hi"));
    let request = within(served).await.unwrap().remove(0);
    let host = endpoint.host_and_port().unwrap();
    assert!(
        request.starts_with("POST /base/process HTTP/1.1\r\n"),
        "{request}"
    );
    let lower = request.to_lowercase();
    for header in [
        format!("host: {}:{}", host.0, host.1),
        "content-type: application/json".to_owned(),
        "accept: */*".to_owned(),
        "x-request-id: ".to_owned(),
    ] {
        assert!(lower.contains(&header), "{header} in {request}");
    }
    assert!(request.contains(r#""type": "request""#), "{request}");
}

#[tokio::test]
async fn errors_of_other_servers_are_read_in_all_their_shapes() {
    let nested = r#"{"id": "x", "type": "error", "version": "1.0", "payload": {"error": {"code": "EXECUTION_ERROR", "message": "no"}}}"#;
    let flat = r#"{"id": "x", "type": "error", "version": "1.0", "payload": {"error_code": "EXECUTION_ERROR", "error_message": "no", "error_details": {}}}"#;
    // Large answers are decoded on another thread.
    let large = nested.replace(r#""no""#, &format!(r#""no{}""#, "!".repeat(3 << 20)));
    for body in [nested, flat, &*large] {
        for status in [200, 500] {
            let (endpoint, _served) = fixed(vec![json(status, body)]).await;
            let error = within(once(&endpoint).process(Message::user("x")))
                .await
                .unwrap_err();
            assert_eq!(error.code().as_str(), "EXECUTION_ERROR");
            assert!(error.to_string().contains("no"), "{error}");
        }
    }
    let text = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\n404: Not Found";
    let (endpoint, _served) = fixed(vec![text.to_owned()]).await;
    let error = within(once(&endpoint).process(Message::user("x")))
        .await
        .unwrap_err();
    assert_eq!(error.code().as_str(), "AGENT_NOT_FOUND");
}

#[tokio::test]
async fn a_stream_of_another_server_may_split_its_events_anywhere() {
    let chunk = r#"{"id": "x", "type": "stream_chunk", "version": "1.0", "payload": {"message": {"role": "agent", "content": "hi", "metadata": {}, "timestamp": "2026-11-29T00:00:00+00:00"}}}"#;
    let end = r#"{"id": "x", "type": "stream_end", "version": "1.0", "payload": {}}"#;
    let events =
        format!(": x\r\n\r\ndata:{chunk}\r\n\r\nevent: m\ndata: {chunk}\n\ndata: {end}\n\n");
    let mut answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_owned();
    for part in events.as_bytes().chunks(7) {
        answer += &format!(
            "{:x}\r\n{}\r\n",
            part.len(),
            std::str::from_utf8(part).unwrap()
        );
    }
    answer += "0\r\n\r\n";
    let (endpoint, served) = fixed(vec![answer, json(200, PYTHON)]).await;
    let remote = once(&endpoint);
    let chunks = within(remote.stream(Message::user("x")).collect::<Vec<_>>()).await;
    assert_eq!(chunks.len(), 2);
    assert!(chunks.iter().all(Result::is_ok), "{chunks:?}");
    // The connection is used again.
    within(remote.process(Message::user("x"))).await.unwrap();
    assert!(within(served).await.unwrap()[0].starts_with("POST /base/stream "));
}

#[tokio::test]
async fn a_stream_that_ends_without_an_end_is_broken() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: x\n\n";
    let (endpoint, _served) = fixed(vec![answer.to_owned()]).await;
    let chunks = within(
        once(&endpoint)
            .stream(Message::user("x"))
            .collect::<Vec<_>>(),
    )
    .await;
    assert_eq!(chunks.len(), 1);
    assert_eq!(
        chunks[0].as_ref().unwrap_err().code().as_str(),
        "CONNECTION_CLOSED"
    );
}

#[tokio::test]
async fn h2c_falls_back_to_http1_for_a_server_that_speaks_nothing_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        // As aiohttp answers the start of HTTP/2.
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut start = [0; 24];
        stream.read_exact(&mut start).await.unwrap();
        let refusal = "HTTP/1.0 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(refusal.as_bytes()).await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            read_request(&mut second).await;
            second
                .write_all(json(200, PYTHON).as_bytes())
                .await
                .unwrap();
        }
        drop(stream);
    });
    let remote = RemoteAgent::new(format!("h2c://127.0.0.1:{port}")).unwrap();
    for _ in 0..2 {
        within(remote.process(Message::user("x"))).await.unwrap();
    }
    within(served).await.unwrap();
}

#[tokio::test]
async fn h2c_falls_back_to_http1_if_the_refusal_is_lost_with_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        // Bytes that are not read reset the connection, and the answer is lost.
        drop(listener.accept().await.unwrap());
        let (mut second, _) = listener.accept().await.unwrap();
        read_request(&mut second).await;
        second
            .write_all(json(200, PYTHON).as_bytes())
            .await
            .unwrap();
    });
    let remote = once(&format!("h2c://127.0.0.1:{port}").parse().unwrap());
    within(remote.process(Message::user("x"))).await.unwrap();
    within(served).await.unwrap();
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused() {
    let server = serve("http").await;
    let limits = agentwire::FrameLimits::default().receive(10_000);
    let remote = RemoteAgent::builder(server.endpoint()).frame_limits(limits);
    let remote = remote.retry(RetryPolicy::never()).build().unwrap();
    let error = within(remote.process(Message::user("x".repeat(20_000))))
        .await
        .unwrap_err();
    assert_eq!(error.code().as_str(), "MALFORMED_PAYLOAD");
    within(remote.process(Message::user("x"))).await.unwrap();
}

#[tokio::test]
async fn instances_of_any_carrier_are_found_by_name() {
    let registry = LocalRegistry::new();
    let builder = LocalAgent::builder(ScriptedAgent)
        .endpoint("http://127.0.0.1:0")
        .endpoint("h2c://127.0.0.1:0")
        .endpoint("tcp://127.0.0.1:0")
        .registry(registry.clone());
    let server = within(builder.serve()).await.unwrap();
    for registration in server.registrations() {
        within(registration.registered()).await.unwrap();
    }
    assert_eq!(registry.lookup("scripted").await.unwrap().len(), 3);
    let remote = RemoteAgent::discover(registry, "scripted").build().unwrap();
    // Instances are chosen at random, so a few calls may leave one out.
    for _ in 0..90 {
        within(remote.process(Message::user("x"))).await.unwrap();
    }
    assert_eq!(
        remote.stats().open,
        3,
        "the calls are balanced over all doors"
    );
}

#[tokio::test]
async fn a_proxy_stands_between_http_and_frames_both_ways() {
    let frames = LocalAgent::serve(ScriptedAgent, "tcp://127.0.0.1:0")
        .await
        .unwrap();
    for scheme in SCHEMES {
        let http = serve(scheme).await;
        for (listen, target) in [
            (format!("{scheme}://127.0.0.1:0"), frames.endpoint()),
            ("tcp://127.0.0.1:0".to_owned(), http.endpoint()),
            (format!("{scheme}://127.0.0.1:0"), http.endpoint()),
        ] {
            let proxy = Proxy::builder(RemoteAgent::builder(target)).endpoint(&*listen);
            let proxy = within(proxy.serve()).await.unwrap();
            let remote = RemoteAgent::new(proxy.endpoint()).unwrap();
            let reply = within(remote.process(Message::user("x"))).await.unwrap();
            assert_eq!(reply.text(), Some("x"));
            let stream = remote.stream(Message::user("x")).collect::<Vec<_>>();
            let chunks = within(stream).await;
            assert_eq!(chunks.len(), 3, "{listen} {target} {chunks:?}");
            let fail = Message::user("x").with_metadata("do", "fail");
            let error = within(remote.process(fail)).await.unwrap_err();
            assert_eq!(error.code().as_str(), "OUT_OF_STOCK");
            let wire = error.remote().expect("an error of the agent");
            assert_eq!(wire.details["missing"], 3);
            within(proxy.stop()).await;
        }
    }
}

#[tokio::test]
async fn a_registry_is_served_over_http() {
    for scheme in SCHEMES {
        let server = RegistryServer::builder(LocalRegistry::new())
            .endpoint(format!("{scheme}://127.0.0.1:0"));
        let server = within(server.serve()).await.unwrap();
        let registry = RemoteRegistry::new(server.endpoint()).unwrap();
        let agent = LocalAgent::builder(ScriptedAgent)
            .endpoint("tcp://127.0.0.1:0")
            .registry(registry.clone());
        let agent = within(agent.serve()).await.unwrap();
        within(agent.registrations()[0].registered()).await.unwrap();
        let found = within(registry.lookup("scripted")).await.unwrap();
        assert_eq!(found[0].endpoint, *agent.endpoint());
        let remote = RemoteAgent::discover(registry.clone(), "scripted")
            .build()
            .unwrap();
        within(remote.process(Message::user("x"))).await.unwrap();
        let other = Registration::new("other", "tcp://127.0.0.1:9".parse().unwrap());
        within(registry.register(other)).await.unwrap();
        within(agent.stop()).await;
        within(server.stop()).await;
    }
}
