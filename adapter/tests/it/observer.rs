//! Observers: what servers and clients report.

use std::{sync::Arc, time::Duration};

use agentwire::{
    Agent, AgentError, LocalAgent, Map, Message, RemoteAgent, RequestContext, RetryPolicy,
    ToolResult, agent_fn,
    observer::{ConnectionEvent, Observer, Outcome, Refusal, RequestEvent, Side},
    registry::{Event, LocalRegistry, Registration, Registry, RegistryServer},
    tool_fn,
    transport::internal::Mutex,
};
use futures_core::Stream;
use futures_util::stream;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::common::{memory, within};

/// Keeps a line for each event.
#[derive(Default)]
struct Record(Mutex<Vec<String>>);

impl Record {
    fn push(&self, line: String) {
        self.0.lock().push(line);
    }

    /// Returns the lines since the last call.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }

    async fn wait_for(&self, text: &str) {
        within(async {
            while !self.0.lock().iter().any(|line| line.contains(text)) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

impl Observer for Record {
    fn request_started(&self, request: &RequestEvent<'_>) {
        let (side, method, name) = (request.side.as_str(), request.method, request.name);
        self.push(format!("{side} {method} {name:?} started"));
    }

    fn request_ended(&self, request: &RequestEvent<'_>, outcome: Outcome<'_>, _: Duration) {
        let (side, method, name) = (request.side.as_str(), request.method, request.name);
        self.push(format!("{side} {method} {name:?} {}", outcome.code()));
    }

    fn refused(&self, refusal: &Refusal) {
        self.push(format!("refused {}", refusal.reason));
    }

    fn bytes_received(&self, side: Side, bytes: u64) {
        if side == Side::Server {
            self.push(format!("received {bytes}"));
        }
    }

    fn connection_opened(&self, connection: &ConnectionEvent<'_>) {
        self.push(format!("{} connection opened", connection.side.as_str()));
    }

    fn connection_closed(&self, connection: &ConnectionEvent<'_>, reason: &'static str) {
        let side = connection.side.as_str();
        self.push(format!("{side} connection closed: {reason}"));
    }

    fn registry_changed(&self, event: &Event) {
        self.push(format!("registry {}", event.name()));
    }
}

/// Streams two chunks, and an error for the message "fail".
struct Two;

impl Agent for Two {
    fn name(&self) -> &str {
        "two"
    }

    async fn process(&self, _: Message, _: RequestContext) -> Result<Message, AgentError> {
        Err(AgentError::with_code("NO", "never"))
    }

    fn stream(
        &self,
        message: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let fails = message.text() == Some("fail");
        let chunk = || Ok(Message::agent("chunk"));
        let last = if fails {
            Err(AgentError::new("no"))
        } else {
            chunk()
        };
        stream::iter([chunk(), last])
    }
}

fn without_bytes(lines: Vec<String>) -> Vec<String> {
    let lines = lines.into_iter();
    lines.filter(|line| !line.starts_with("received")).collect()
}

#[tokio::test]
async fn both_sides_report_each_request_with_its_outcome() {
    let record = Arc::new(Record::default());
    let now = tool_fn(
        "now",
        |_: Map| async move { Ok(ToolResult::success("noon")) },
    );
    let server = LocalAgent::builder(Two)
        .agent(agent_fn("echo", |message: Message| async { Ok(message) }))
        .tool(now)
        .observer(record.clone())
        .endpoint(memory("observed"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .name("two")
        .observer(record.clone())
        .build()
        .unwrap();

    within(remote.process(Message::user("hi")))
        .await
        .unwrap_err();
    assert_eq!(
        without_bytes(record.take()),
        [
            "client process \"two\" started",
            "client connection opened",
            "server connection opened",
            "server process \"two\" started",
            "server process \"two\" NO",
            "client process \"two\" NO",
        ]
    );
    within(remote.execute("now", Map::new())).await.unwrap();
    within(remote.execute("secret", Map::new()))
        .await
        .unwrap_err();
    assert_eq!(
        without_bytes(record.take()),
        [
            "client execute \"two\" started",
            "server execute \"now\" started",
            "server execute \"now\" OK",
            "client execute \"two\" OK",
            "client execute \"two\" started",
            // The name of an unknown tool is a text of the caller.
            "server execute \"\" started",
            "server execute \"\" TOOL_NOT_FOUND",
            "client execute \"two\" TOOL_NOT_FOUND",
        ]
    );
    for (text, code) in [("go", "OK"), ("fail", "INTERNAL_ERROR")] {
        let mut chunks = remote.stream(Message::user(text));
        while within(chunks.next()).await.is_some() {}
        let lines = without_bytes(record.take());
        assert!(
            lines.contains(&format!("server stream \"two\" {code}")),
            "{lines:?}"
        );
        assert!(
            lines.contains(&format!("client stream \"two\" {code}")),
            "{lines:?}"
        );
    }
    let mut chunks = remote.stream(Message::user("go"));
    within(chunks.next()).await.unwrap().unwrap();
    drop(chunks);
    record.wait_for("client stream \"two\" CANCELLED").await;
    record.wait_for("client connection closed: closed").await;
    within(remote.close()).await;
    within(server.stop()).await;
    let lines = record.take();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("server connection closed: "))
    );
}

#[tokio::test]
async fn a_request_whose_caller_leaves_is_reported_as_cancelled() {
    let record = Arc::new(Record::default());
    let forever = agent_fn("forever", |_: Message| std::future::pending());
    let server = LocalAgent::builder(forever)
        .observer(record.clone())
        .endpoint(memory("cancelled"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let call = tokio::spawn({
        let remote = remote.clone();
        async move { remote.process(Message::user("hi")).await }
    });
    record.wait_for("server process \"forever\" started").await;
    call.abort();
    record
        .wait_for("server process \"forever\" CANCELLED")
        .await;
    within(server.stop()).await;
}

#[tokio::test]
async fn frames_that_are_no_requests_are_reported_as_refusals() {
    let record = Arc::new(Record::default());
    let echo = agent_fn("echo", |message: Message| async { Ok(message) });
    let server = LocalAgent::builder(echo)
        .observer(record.clone())
        .endpoint("tcp://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    let address = server.endpoint().to_string();
    let address = address.strip_prefix("tcp://").unwrap();
    for (bytes, reason) in [
        (&b"\0\0\0\x02{}"[..], "malformed"),
        (b"\xff\xff\xff\xff", "frame_size"),
        (b"GET / HTTP/1.1\r\n\r\n", "protocol"),
    ] {
        let mut peer = TcpStream::connect(address).await.unwrap();
        peer.write_all(bytes).await.unwrap();
        record.wait_for(&format!("refused {reason}")).await;
    }
    within(server.stop()).await;
}

#[tokio::test]
async fn a_registry_server_reports_the_changes_of_its_registry() {
    let record = Arc::new(Record::default());
    let registry = LocalRegistry::new();
    let server = RegistryServer::builder(registry.clone())
        .observer(record.clone())
        .endpoint(memory("observed-registry"))
        .serve()
        .await
        .unwrap();
    record.wait_for("registry snapshot").await;
    let agent = Registration::new("echo", memory("somewhere"));
    within(registry.register(agent)).await.unwrap();
    record.wait_for("registry joined").await;
    within(server.stop()).await;
}

#[tokio::test]
async fn a_client_reports_its_retries_and_its_failure() {
    let record = Arc::new(Record::default());
    let remote = RemoteAgent::builder(memory("nobody"))
        .observer(record.clone())
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    within(remote.process(Message::user("hi")))
        .await
        .unwrap_err();
    assert_eq!(
        record.take(),
        [
            "client process \"\" started",
            "client process \"\" CONNECTION_FAILED"
        ]
    );
}

/// Keeps the whole seconds of each request of a server.
#[derive(Default)]
struct Seconds(Mutex<Vec<u64>>);

impl Observer for Seconds {
    fn request_ended(&self, request: &RequestEvent<'_>, _: Outcome<'_>, duration: Duration) {
        if request.side == Side::Server {
            self.0.lock().push(duration.as_secs());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_request_starts_when_it_arrives() {
    let seconds = Arc::new(Seconds::default());
    let slow = agent_fn("slow", |message: Message| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(message)
    });
    let server = LocalAgent::builder(slow)
        .observer(seconds.clone())
        .endpoint(memory("arrivals"))
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .max_connections(1)
        .max_in_flight_per_connection(3)
        .build()
        .unwrap();
    // The connection is idle between the rounds, and serves several requests in each.
    for _ in 0..3 {
        let call = || remote.process(Message::user("hi"));
        let (first, second, third) = tokio::join!(call(), call(), call());
        for answer in [first, second, third] {
            answer.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(*seconds.0.lock(), [1; 9]);
    server.stop().await;
}
