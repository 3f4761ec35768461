//! The paths of a server, and the shapes of its answers.

use std::sync::Arc;

use agentwire::{
    Agent, AgentError, LocalAgent, LocalAgentBuilder, Map, Message, RemoteAgent, RequestContext,
    ToolResult, agent_fn, http::HttpOptions, stream_fn, tool_fn,
};
use futures_core::Stream;
use futures_util::StreamExt;
use tokio::sync::Notify;

use crate::{
    common::{ScriptedAgent, within},
    peer::{Peer, message},
};

async fn serve(builder: LocalAgentBuilder) -> LocalAgent {
    let builder = builder.endpoint("http://127.0.0.1:0");
    within(builder.serve()).await.unwrap()
}

async fn scripted() -> (LocalAgent, Peer) {
    let server = serve(LocalAgent::builder(ScriptedAgent)).await;
    let peer = Peer::connect(server.endpoint()).await;
    (server, peer)
}

#[tokio::test]
async fn a_call_is_answered_with_an_envelope_and_the_connection_stays_open() {
    let (_server, mut peer) = scripted().await;
    for _ in 0..2 {
        let reply = peer.ask("/process?ignored=1", &message("")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("x-request-id"), Some("7"));
        let json = reply.json();
        let keys: Vec<_> = json.as_map().unwrap().keys().collect();
        assert_eq!(keys, ["version", "type", "id", "timestamp", "payload"]);
        assert_eq!(json["type"], "response");
        assert_eq!(json["id"], "7");
        assert_eq!(json["payload"]["message"]["content"], "hé");
        assert!(reply.text().contains("h\\u00e9"), "always escaped");
    }
}

#[tokio::test]
async fn a_stream_is_sent_as_events_with_an_end() {
    let (_server, mut peer) = scripted().await;
    for _ in 0..2 {
        let reply = peer.ask("/stream", &message(r#""count": 2"#)).await;
        assert_eq!(reply.status, 200);
        for (header, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache"),
            ("x-accel-buffering", "no"),
            ("transfer-encoding", "chunked"),
        ] {
            assert_eq!(reply.header(header), Some(value));
        }
        let events: Vec<_> = reply.text().split_terminator("\n\n").collect();
        let kinds: Vec<_> = events
            .iter()
            .map(|event| {
                let data = event.strip_prefix("data: ").expect(event);
                let value = agentwire::Format::Json
                    .decode_value(data.as_bytes())
                    .unwrap();
                assert_eq!(value["id"], "7");
                value["type"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(kinds, ["stream_chunk", "stream_chunk", "stream_end"]);
        assert!(reply.text().ends_with("\n\n"));
    }
}

#[tokio::test]
async fn a_stream_that_fails_ends_with_an_error_in_both_forms() {
    let (_server, mut peer) = scripted().await;
    let reply = peer.ask("/stream", &message(r#""fail_after": 1"#)).await;
    assert_eq!(reply.status, 200);
    let last = reply.text().trim_end().rsplit("\n\n").next().unwrap();
    let last = last.strip_prefix("data: ").unwrap();
    let value = agentwire::Format::Json
        .decode_value(last.as_bytes())
        .unwrap();
    assert_eq!(value["payload"]["error"]["message"], "failed after 1");
    assert_eq!(value["payload"]["error_message"], "failed after 1");
}

#[tokio::test]
async fn events_are_sent_as_they_are_made() {
    let go = Arc::new(Notify::new());
    let agent = stream_fn("slow", {
        let go = Arc::clone(&go);
        move |_: Message| {
            let go = Arc::clone(&go);
            futures_util::stream::iter(0..2).then(move |i| {
                let go = Arc::clone(&go);
                async move {
                    go.notified().await;
                    Ok::<_, AgentError>(Message::agent(i))
                }
            })
        }
    });
    let server = serve(LocalAgent::builder(agent)).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    peer.post("/stream", "", &message("")).await;
    for i in 0..2 {
        go.notify_one();
        if i == 0 {
            peer.head().await;
        }
        let chunk = peer.chunk().await.unwrap();
        assert!(chunk.starts_with(b"data: ") && chunk.ends_with(b"\n\n"));
    }
}

#[tokio::test]
async fn each_code_has_its_status() {
    let agent = agent_fn("codes", |message: Message| async move {
        let code = message.metadata["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        Err::<Message, _>(AgentError::with_code(code, "no"))
    });
    let server = serve(LocalAgent::builder(agent).strict_names(true)).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    for (code, status) in [
        ("INVALID_MESSAGE", 400),
        ("MALFORMED_PAYLOAD", 400),
        ("UNAUTHENTICATED", 401),
        ("PERMISSION_DENIED", 403),
        ("AGENT_NOT_FOUND", 404),
        ("RATE_LIMITED", 429),
        ("INTERNAL_ERROR", 500),
        ("OUT_OF_STOCK", 500),
        ("NOT_IMPLEMENTED", 501),
        ("AGENT_UNAVAILABLE", 503),
        ("AGENT_TIMEOUT", 504),
    ] {
        let body = message(&format!(r#""code": "{code}""#)).replace(
            r#""message":"#,
            r#""method": "process", "agent_name": "codes", "message":"#,
        );
        let reply = peer.ask("/process", &body).await;
        assert_eq!((reply.status, &*reply.code()), (status, code));
    }
    let reply = peer.ask("/process", &message("")).await;
    assert_eq!((reply.status, &*reply.code()), (404, "AGENT_NOT_FOUND"));
}

#[tokio::test]
async fn bad_bodies_are_answered_and_the_connection_stays_usable() {
    let (_server, mut peer) = scripted().await;
    for (path, body, code) in [
        ("/process", "", "MALFORMED_PAYLOAD"),
        ("/process", "{", "MALFORMED_PAYLOAD"),
        ("/process", "[]", "INVALID_MESSAGE"),
        ("/process", "{}", "INVALID_MESSAGE"),
        ("/stream", "\u{7f}", "MALFORMED_PAYLOAD"),
        (
            "/stream",
            r#"{"version": "1.0", "type": "heartbeat", "id": "1", "payload": {"agent_name": "x"}}"#,
            "INVALID_MESSAGE",
        ),
        (
            "/execute",
            &message("").replace(r#""message":"#, r#""method": "process", "message":"#),
            "INVALID_MESSAGE",
        ),
        (
            "/execute",
            r#"{"payload": {"tool_name": "nope", "kwargs": {}}}"#,
            "TOOL_NOT_FOUND",
        ),
    ] {
        let reply = peer.ask(path, body).await;
        assert_eq!(reply.code(), code, "{path} {body}");
        let status = if code == "TOOL_NOT_FOUND" { 404 } else { 400 };
        assert_eq!(reply.status, status, "{path} {body}");
    }
    assert_eq!(peer.ask("/process", &message("")).await.status, 200);
}

#[tokio::test]
async fn other_paths_and_methods_are_answered_in_text() {
    let (_server, mut peer) = scripted().await;
    for (method, path, status, allow) in [
        ("GET", "/", 404, None),
        ("GET", "/process/", 404, None),
        ("GET", "/process", 405, Some("POST")),
        ("DELETE", "/stream", 405, Some("POST")),
        ("OPTIONS", "/process", 405, Some("POST")),
        ("PUT", "/health", 405, Some("GET,HEAD")),
    ] {
        let reply = peer.get(method, path, "").await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (status, allow),
            "{path}"
        );
        assert_eq!(
            reply.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
    }
}

#[tokio::test]
async fn tools_and_descriptions_have_paths() {
    let add = tool_fn("add", |kwargs: Map| async move {
        let number = |key| kwargs[key].as_i64().unwrap_or_default();
        Ok(ToolResult::success(number("a") + number("b")))
    });
    let builder = LocalAgent::builder(ScriptedAgent)
        .tool(add)
        .version("1.2.3".parse().unwrap());
    let server = serve(builder).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    let body = r#"{"payload": {"tool_name": "add", "kwargs": {"a": 2, "b": 3}}}"#;
    let reply = peer.ask("/execute", body).await;
    assert_eq!(reply.json()["payload"]["result"]["data"], 5);
    let description = peer.get("GET", "/describe", "").await.json();
    assert_eq!(description["agents"][0]["name"], "scripted");
    assert_eq!(description["tools"][0]["name"], "add");
    let card = peer
        .get("GET", "/.well-known/agent-card.json", "")
        .await
        .json();
    assert_eq!(card["name"], "scripted");
    assert_eq!(card["version"], "1.2.3");
    assert_eq!(card["tools"][0]["name"], "add");
}

#[tokio::test]
async fn the_prefix_of_the_url_is_in_front_of_all_paths() {
    let builder = LocalAgent::builder(ScriptedAgent).endpoint("http://127.0.0.1:0/agents/a/");
    let server = within(builder.serve()).await.unwrap();
    let text = server.endpoint().to_string();
    assert!(text.starts_with("http://127.0.0.1:") && text.ends_with("/agents/a"));
    let mut peer = Peer::connect(server.endpoint()).await;
    assert_eq!(
        peer.ask("/agents/a/process", &message("")).await.status,
        200
    );
    assert_eq!(peer.get("GET", "/health", "").await.status, 404);
}

#[tokio::test]
async fn the_id_of_a_request_may_come_in_a_header() {
    let (_server, mut peer) = scripted().await;
    let body = r#"{"payload": {"message": {"role": "user", "content": 1}}}"#;
    peer.post("/process", "X-Request-Id: abc\r\n", body).await;
    let reply = peer.reply().await;
    assert_eq!(reply.json()["id"], "abc");
    assert_eq!(reply.header("x-request-id"), Some("abc"));
    peer.post("/process", "X-Request-Id: abc\r\n", "{").await;
    assert_eq!(peer.reply().await.json()["id"], "abc");
}

#[tokio::test]
async fn only_pages_of_allowed_origins_may_call() {
    let options = HttpOptions::new().allowed_origin("https://a.example");
    let server = serve(LocalAgent::builder(ScriptedAgent).http_options(options)).await;
    for (origin, status, answer, allowed) in [
        ("https://a.example", 204, 200, Some("https://a.example")),
        ("https://b.example", 405, 403, None),
        ("null", 405, 403, None),
    ] {
        let origin = format!("Origin: {origin}\r\n");
        let mut peer = Peer::connect(server.endpoint()).await;
        assert_eq!(peer.get("GET", "/health", &origin).await.status, 200);
        let asked = peer.get("OPTIONS", "/process", &origin).await;
        assert_eq!(asked.status, status);
        assert_eq!(asked.header("access-control-allow-origin"), allowed);
        peer.post("/process", &origin, &message("")).await;
        let reply = peer.reply().await;
        assert_eq!(reply.status, answer);
        assert_eq!(reply.header("access-control-allow-origin"), allowed);
        assert_eq!(reply.header("vary"), Some("origin"));
    }
    // By default, no page may call, and other clients name no origin.
    let server = serve(LocalAgent::builder(ScriptedAgent)).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    for (origin, status) in [("", 200), ("Origin: http://localhost\r\n", 403)] {
        peer.post("/process", origin, &message("")).await;
        assert_eq!(peer.reply().await.status, status);
    }
}

/// An agent that never answers, and tells when its handlers start and are dropped.
#[derive(Clone, Default)]
struct Hangs {
    started: Arc<Notify>,
    ended: Arc<Notify>,
}

impl Hangs {
    async fn hang(self) -> Result<Message, AgentError> {
        struct OnDrop(Arc<Notify>);
        impl Drop for OnDrop {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let _guard = OnDrop(self.ended);
        self.started.notify_one();
        std::future::pending().await
    }
}

impl Agent for Hangs {
    fn name(&self) -> &str {
        "hangs"
    }

    async fn process(&self, _: Message, _: RequestContext) -> Result<Message, AgentError> {
        self.clone().hang().await
    }

    fn stream(
        &self,
        _: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        futures_util::stream::once(self.clone().hang())
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_its_handler() {
    let agent = Hangs::default();
    let server = serve(LocalAgent::builder(agent.clone())).await;
    for path in ["/process", "/stream"] {
        let mut peer = Peer::connect(server.endpoint()).await;
        peer.post(path, "", &message("")).await;
        within(agent.started.notified()).await;
        drop(peer);
        within(agent.ended.notified()).await;
    }
}

#[tokio::test]
async fn requests_in_one_write_are_answered_in_order() {
    let (_server, mut peer) = scripted().await;
    let body = message("");
    let one = |path: &str| {
        let len = body.len();
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n{body}")
    };
    peer.send(one("/process") + &one("/stream") + &one("/process"))
        .await;
    assert_eq!(peer.reply().await.json()["type"], "response");
    assert_eq!(
        peer.reply().await.header("content-type"),
        Some("text/event-stream")
    );
    assert_eq!(peer.reply().await.json()["type"], "response");
}

#[tokio::test]
async fn bodies_in_chunks_and_expectations_are_accepted() {
    let (_server, mut peer) = scripted().await;
    let body = message("");
    let head = "POST /process HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (first, second) = body.split_at(10);
    let chunks = format!(
        "{head}{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    peer.send(chunks).await;
    assert_eq!(peer.reply().await.json()["id"], "7");
    let len = body.len();
    peer.send(format!(
        "POST /process HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
    ))
    .await;
    assert_eq!(peer.head().await.status, 100);
    peer.send(&body).await;
    assert_eq!(peer.reply().await.json()["id"], "7");
    let gzip = "Content-Encoding: gzip\r\n";
    peer.post("/process", gzip, &body).await;
    assert_eq!(peer.reply().await.status, 415);
}

#[tokio::test]
async fn a_panic_of_an_agent_is_an_error_and_others_are_served() {
    let (server, mut peer) = scripted().await;
    let reply = peer.ask("/process", &message(r#""do": "panic""#)).await;
    assert_eq!((reply.status, &*reply.code()), (500, "INTERNAL_ERROR"));
    let mut other = Peer::connect(server.endpoint()).await;
    assert_eq!(other.ask("/process", &message("")).await.status, 200);
}

#[tokio::test]
async fn doors_of_all_carriers_share_the_agent_and_stop_together() {
    let builder = LocalAgent::builder(ScriptedAgent)
        .endpoint("tcp://127.0.0.1:0")
        .endpoint("http://127.0.0.1:0")
        .endpoint("h2c://127.0.0.1:0");
    let server = within(builder.serve()).await.unwrap();
    let schemes: Vec<_> = server
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.to_string().split_once(':').unwrap().0.to_owned())
        .collect();
    assert_eq!(schemes, ["tcp", "http", "h2c"]);
    for endpoint in &server.endpoints()[1..] {
        assert_ne!(endpoint.host_and_port().unwrap().1, 0);
        let mut peer = Peer::connect(endpoint).await;
        assert_eq!(peer.ask("/process", &message("")).await.status, 200);
    }
    within(server.stop()).await;
    for endpoint in server.endpoints() {
        let address = endpoint.host_and_port().unwrap();
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    }
}

#[tokio::test]
async fn an_endpoint_in_use_is_reported_with_its_scheme() {
    let (server, _peer) = scripted().await;
    let taken = server.endpoint().clone();
    let builder = LocalAgent::builder(ScriptedAgent).endpoint(&taken);
    let error = within(builder.serve()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains(&taken.to_string()), "{source}");
}

#[tokio::test]
async fn stop_answers_what_is_in_flight() {
    let go = Arc::new(Notify::new());
    let started = Arc::new(Notify::new());
    let agent = agent_fn("waits", {
        let (go, started) = (Arc::clone(&go), Arc::clone(&started));
        move |message: Message| {
            let (go, started) = (Arc::clone(&go), Arc::clone(&started));
            async move {
                started.notify_one();
                go.notified().await;
                Ok::<_, AgentError>(message)
            }
        }
    });
    let server = Arc::new(serve(LocalAgent::builder(agent)).await);
    let mut idle = Peer::connect(server.endpoint()).await;
    idle.get("GET", "/live", "").await;
    let mut peer = Peer::connect(server.endpoint()).await;
    peer.post("/process", "", &message("")).await;
    within(started.notified()).await;
    let stopping = tokio::spawn({
        let server = Arc::clone(&server);
        async move { server.stop().await }
    });
    assert_eq!(idle.rest().await, b"");
    assert!(!stopping.is_finished());
    go.notify_one();
    assert_eq!(peer.reply().await.status, 200);
    assert_eq!(peer.rest().await, b"");
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_cannot_stream_is_answered_with_501() {
    let agent = agent_fn("mute", |message: Message| async move { Ok(message) });
    let server = serve(LocalAgent::builder(agent)).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    let reply = peer.ask("/stream", &message("")).await;
    // The code is that of all carriers.
    assert_eq!((reply.status, &*reply.code()), (501, "INTERNAL_ERROR"));
    let text = &reply.json()["payload"]["error_message"];
    assert_eq!(*text, "mute does not support streaming");
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let error = within(remote.stream(Message::user("x")).next()).await;
    let error = error.unwrap().unwrap_err();
    assert_eq!(error.code().as_str(), "INTERNAL_ERROR");
    assert_eq!(peer.ask("/process", &message("")).await.status, 200);
}

#[tokio::test]
async fn a_stream_that_is_refused_before_its_first_event_has_the_status_of_its_error() {
    let agent = stream_fn("refuses", |message: Message| {
        let code = message.metadata["code"].as_str().unwrap_or_default();
        let code = code.to_owned();
        futures_util::stream::once(async move {
            tokio::task::yield_now().await;
            Err::<Message, _>(AgentError::with_code(code, "no"))
        })
    });
    let server = serve(LocalAgent::builder(agent)).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    for (code, status) in [
        ("PERMISSION_DENIED", 403),
        ("AGENT_UNAVAILABLE", 503),
        ("AGENT_TIMEOUT", 504),
    ] {
        let reply = peer
            .ask("/stream", &message(&format!(r#""code": "{code}""#)))
            .await;
        assert_eq!((reply.status, &*reply.code()), (status, code));
    }
    // The failure of an agent is an event, which clients in Python and Go can read.
    let reply = peer
        .ask("/stream", &message(r#""code": "INTERNAL_ERROR""#))
        .await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().starts_with("data: "), "{}", reply.text());
}

#[tokio::test]
async fn the_head_of_a_silent_stream_is_sent_and_then_comments() {
    let agent = stream_fn("silent", |_: Message| {
        futures_util::stream::pending::<Result<Message, AgentError>>()
    });
    let server = serve(LocalAgent::builder(agent)).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    peer.post("/stream", "", &message("")).await;
    // The clock is advanced once the server waits.
    tokio::time::pause();
    assert_eq!(peer.head().await.status, 200);
    for _ in 0..3 {
        assert_eq!(peer.chunk().await.unwrap(), b": keep-alive\n\n");
    }
}

#[tokio::test]
async fn the_routes_invoke_take_and_give_bare_messages() {
    let closed = serve(LocalAgent::builder(ScriptedAgent)).await;
    let mut peer = Peer::connect(closed.endpoint()).await;
    for path in ["/invoke", "/invoke/stream"] {
        assert_eq!(peer.get("POST", path, "").await.status, 404);
    }
    assert_eq!(peer.get("GET", "/auth", "").await.status, 404);

    let options = HttpOptions::new().invoke_routes(true);
    let server = serve(LocalAgent::builder(ScriptedAgent).http_options(options)).await;
    let mut peer = Peer::connect(server.endpoint()).await;
    let large = "x".repeat(200_000);
    for body in [
        r#"{"role": "user", "content": "h\u00e9"}"#.to_owned(),
        r#"{"message": {"content": "h\u00e9", "metadata": {}}}"#.to_owned(),
        r#"{"input": "h\u00e9"}"#.to_owned(),
        format!(r#"{{"role": "user", "content": "{large}"}}"#),
        format!(r#"{{"content": "{large}"}}"#),
        format!(r#"{{"message": {{"content": "{large}"}}}}"#),
        format!(r#"{{"input": "{large}"}}"#),
    ] {
        let reply = peer.ask("/invoke", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let json = reply.json();
        let keys: Vec<_> = json.as_map().unwrap().keys().collect();
        assert_eq!(keys, ["role", "content", "metadata", "timestamp"]);
        let content = json["content"].as_str().unwrap();
        assert!(content == "h\u{e9}" || content == large);
    }
    let fail = r#"{"role": "user", "content": 1, "metadata": {"do": "fail"}}"#;
    let reply = peer.ask("/invoke", fail).await;
    assert_eq!(reply.status, 500);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], "OUT_OF_STOCK");
    assert_eq!(error["details"]["missing"], 3);
    let other = r#"{"role":"user","content":"x"},"agent_name":"y""#;
    for body in ["", "[]", "{", "{}", "7", other] {
        let reply = peer.ask("/invoke", body).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        assert!(reply.json()["error"]["code"].as_str().is_some());
    }

    let body = r#"{"input": "x", "metadata": {"count": 2}}"#;
    let reply = peer.ask("/invoke/stream", body).await;
    assert_eq!(reply.header("content-type"), Some("text/event-stream"));
    let events: Vec<_> = reply.text().split_terminator("\n\n").collect();
    assert_eq!(events.len(), 3, "{events:?}");
    for event in &events[..2] {
        assert!(
            event.starts_with(r#"data: {"role": "agent", "content": "x""#),
            "{event}"
        );
    }
    assert_eq!(events[2], "event: end\ndata: {}");
    let body = r#"{"input": "x", "metadata": {"fail_after": 1}}"#;
    let reply = peer.ask("/invoke/stream", body).await;
    let last = reply.text().trim_end().rsplit("\n\n").next().unwrap();
    assert!(
        last.starts_with("event: error\ndata: {\"error\": {"),
        "{last}"
    );
}
