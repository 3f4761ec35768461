//! Trace contexts, deadlines and idempotency keys over every carrier.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    Agent, AgentError, CallOptions, LocalAgent, LocalAgentBuilder, Map, Message, Proxy,
    RemoteAgent, RequestContext, RetryPolicy, ToolResult, TraceContext, Value, map, tool_fn,
};
use agentwire_codec::Format;
use agentwire_proto::{Message as ProtoMessage, Request as ProtoRequest, Response, decode};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    common::{memory, within},
    endpoints,
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-01";
const MINUTE: Duration = Duration::from_secs(60);

/// Answers with what the context of the request says.
struct Seen {
    runs: Arc<AtomicU64>,
}

impl Seen {
    fn answer(&self, context: &RequestContext) -> Map {
        self.runs.fetch_add(1, Relaxed);
        seen(context)
    }
}

fn seen(context: &RequestContext) -> Map {
    let trace = context.trace_context();
    let left = context.remaining().map(|left| left.as_millis() as u64);
    map! {
        "parent": (trace.and_then(TraceContext::traceparent)),
        "state": (trace.and_then(TraceContext::tracestate)),
        "baggage": (trace.and_then(|trace| trace.field("baggage"))),
        "left": left,
    }
}

impl Agent for Seen {
    fn name(&self) -> &str {
        "seen"
    }

    async fn process(&self, _: Message, context: RequestContext) -> Result<Message, AgentError> {
        Ok(Message::agent(self.answer(&context)))
    }

    fn stream(
        &self,
        _: Message,
        context: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        stream::iter([Ok(Message::agent(self.answer(&context)))])
    }
}

fn builder(runs: &Arc<AtomicU64>) -> LocalAgentBuilder {
    let tool = tool_fn("seen", |_: Map, context: RequestContext| async move {
        Ok(ToolResult::success(seen(&context)))
    });
    let agent = Seen {
        runs: Arc::clone(runs),
    };
    LocalAgent::builder(agent)
        .tool(tool)
        .keep_outcomes(MINUTE, 1 << 20)
}

async fn serve(endpoint: &str) -> (LocalAgent, Arc<AtomicU64>) {
    let runs = Arc::default();
    let server = builder(&runs).endpoint(endpoint).serve().await.unwrap();
    (server, runs)
}

#[track_caller]
fn check(answer: &Value, limit: Duration) {
    assert_eq!(answer["parent"], PARENT);
    assert_eq!(answer["state"], "a=1");
    assert_eq!(answer["baggage"], "b=2");
    let left = answer["left"].as_u64().expect("a deadline");
    assert!(Duration::from_millis(left) <= limit, "{left}");
}

#[tokio::test]
async fn traces_deadlines_and_keys_travel_over_every_carrier() {
    for endpoint in endpoints("carried") {
        let (server, runs) = serve(&endpoint).await;
        let remote = RemoteAgent::builder(server.endpoint())
            .send_trace_context(true)
            .send_deadlines(true)
            .build()
            .unwrap();
        let fields = map! {"traceparent": PARENT, "tracestate": "a=1", "baggage": "b=2"};
        let options = CallOptions::new()
            .trace_context(TraceContext::from_fields(fields))
            .timeout(MINUTE)
            .total_timeout(MINUTE);
        let with_key = options.clone().idempotency_key("clé 1");
        for is_repeated in [false, true] {
            let reply = remote.process_with(Message::user("?"), &with_key);
            let reply = within(reply).await.unwrap();
            check(&reply.content, MINUTE);
            let replay = &reply.metadata["idempotent_replay"];
            // The metadata of gRPC is text.
            let is_replay = *replay == true || *replay == "true";
            assert_eq!(is_replay, is_repeated, "{endpoint}");
        }
        assert_eq!(runs.load(Relaxed), 1, "{endpoint}");
        let result = remote.execute_with("seen", Map::new(), &options);
        check(&within(result).await.unwrap().data, MINUTE);
        let mut chunks = remote.stream_with(Message::user("?"), &options);
        let chunk = within(chunks.next()).await.unwrap().unwrap();
        check(&chunk.content, MINUTE);
        drop(chunks);
        within(server.stop()).await;
    }
}

/// Sends a request of HTTP/1.1, and returns the payload of its answer.
async fn post(endpoint: &str, headers: &str, body: &str) -> Value {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut peer = TcpStream::connect(address).await.unwrap();
    let len = body.len();
    let request = format!(
        "POST /process HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}content-length: {len}\
         \r\n\r\n{body}"
    );
    peer.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(peer.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let body = Format::Json.decode_value(body.as_bytes()).unwrap();
    body["payload"]["message"].clone()
}

const HEADERS: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
    tracestate: a=1\r\nbaggage: b=2\r\nidempotency-key: \"1\"\r\n";

#[tokio::test]
async fn headers_of_http_count_if_the_envelope_says_nothing() {
    let (server, runs) = serve("http://127.0.0.1:0").await;
    let (behind, behind_runs) = serve(memory("behind").to_string().as_str()).await;
    let proxy = Proxy::builder(RemoteAgent::builder(behind.endpoint()))
        .endpoint("http://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    let body = r#"{"payload": {"message": {"role": "user", "content": "?"}}}"#;
    for (endpoint, runs) in [(server.endpoint(), runs), (proxy.endpoint(), behind_runs)] {
        let endpoint = endpoint.to_string();
        for is_repeated in [false, true] {
            let answer = post(&endpoint, HEADERS, body).await;
            assert_eq!(answer["content"]["parent"], PARENT);
            assert_eq!(answer["content"]["state"], "a=1");
            assert_eq!(answer["content"]["baggage"], "b=2");
            assert_eq!(answer["content"]["left"], Value::Null);
            let replay = &answer["metadata"]["idempotent_replay"];
            assert_eq!(*replay == true, is_repeated);
        }
        assert_eq!(runs.load(Relaxed), 1);
        let own = format!(
            r#"{{"payload": {{"idempotency_key": "2", "message": {{"role": "user", "content": "?",
             "metadata": {{"trace_context": {{"traceparent": "{OTHER}"}}}}}}}}}}"#
        );
        let answer = post(&endpoint, HEADERS, &own).await;
        assert_eq!(answer["content"]["parent"], OTHER);
        assert_eq!(runs.load(Relaxed), 2);
    }
}

/// Sends a request of gRPC, and returns the content of its answer.
async fn call_grpc(address: &str, headers: &[(&'static str, &str)]) -> Value {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = within(h2::client::handshake(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut sender = within(sender.ready()).await.unwrap();
    let mut request = http::Request::post("http://test/agenkit.AgentService/Process")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    let (response, mut body) = sender.send_request(request, false).unwrap();
    let message = ProtoRequest {
        messages: vec![ProtoMessage {
            role: "user".to_owned(),
            ..ProtoMessage::default()
        }],
        ..ProtoRequest::default()
    };
    body.send_data(framed(&message.encode_to_vec()), true)
        .unwrap();
    let mut answer = within(response).await.unwrap().into_body();
    let mut bytes = Vec::new();
    while let Some(data) = within(answer.data()).await {
        bytes.extend_from_slice(&data.unwrap());
    }
    driver.abort();
    let (response, _) = decode::<Response>(&bytes[5..], usize::MAX).unwrap();
    let content = response.message.expect("a message").content;
    Format::Json.decode_value(content.as_bytes()).unwrap()
}

fn framed(message: &[u8]) -> Bytes {
    let len = u32::try_from(message.len()).unwrap();
    [&[0][..], &len.to_be_bytes(), message].concat().into()
}

#[tokio::test]
async fn headers_of_grpc_count_like_those_of_http() {
    let (server, _) = serve("grpc://127.0.0.1:0").await;
    let (behind, _) = serve(memory("behind").to_string().as_str()).await;
    let proxy = Proxy::builder(RemoteAgent::builder(behind.endpoint()))
        .endpoint("grpc://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    for endpoint in [server.endpoint(), proxy.endpoint()] {
        let endpoint = endpoint.to_string();
        let address = endpoint.strip_prefix("grpc://").unwrap();
        let headers = [
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("baggage", "b=2"),
            ("grpc-timeout", "1M"),
        ];
        check(&call_grpc(address, &headers).await, MINUTE);
        let none = call_grpc(address, &[]).await;
        assert_eq!(none["parent"], Value::Null);
        assert_eq!(none["left"], Value::Null);
    }
}

#[tokio::test]
async fn clients_send_the_headers_only_if_they_send_trace_contexts() {
    for sends in [true, false] {
        let options = CallOptions::new()
            .trace_context(TraceContext::from_traceparent(PARENT).with_tracestate("a=1"));
        let remote = |endpoint: String| {
            RemoteAgent::builder(endpoint)
                .send_trace_context(sends)
                .retry(RetryPolicy::never())
                .build()
                .unwrap()
        };
        let expected = sends.then_some((PARENT, "a=1"));

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = remote(format!("http://{}", listener.local_addr().unwrap()));
        let (_, head) = tokio::join!(
            within(http.process_with(Message::user("?"), &options)),
            async {
                let (mut peer, _) = listener.accept().await.unwrap();
                let mut bytes = [0; 4096];
                let len = within(peer.read(&mut bytes)).await.unwrap();
                String::from_utf8_lossy(&bytes[..len]).into_owned()
            }
        );
        let header = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let found = header("traceparent").zip(header("tracestate"));
        assert_eq!(found, expected, "{head}");

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc = remote(format!("grpc://{}", listener.local_addr().unwrap()));
        let (_, headers) = tokio::join!(
            within(grpc.process_with(Message::user("?"), &options)),
            async {
                let (peer, _) = listener.accept().await.unwrap();
                let mut connection = within(h2::server::handshake(peer)).await.unwrap();
                let (request, _) = within(connection.accept()).await.unwrap().unwrap();
                request.headers().clone()
            }
        );
        let header = |name| headers.get(name).map(|value| value.to_str().unwrap());
        let found = header("traceparent").zip(header("tracestate"));
        assert_eq!(found, expected, "{headers:?}");
    }
}
