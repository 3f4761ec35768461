//! Exported spans: one trace through a client and a server, seen by a collector.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use agentwire::auth::TokenDigest;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::program::{Running, program, run, within};

/// A collector that keeps the bodies of all requests.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<Vec<u8>>>>);

#[derive(Debug)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Option<Vec<u8>>,
}

impl Sink {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sink = Self::default();
        let bodies = sink.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(bodies.clone().receive(stream));
            }
        });
        (sink, url)
    }

    async fn receive(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let body = loop {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
            let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(
                head.contains("content-type: application/x-protobuf"),
                "{head}"
            );
            let mut lines = head.lines();
            let len = lines
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            let len: usize = len.parse().unwrap();
            if bytes.len() >= end + 4 + len {
                break bytes[end + 4..].to_vec();
            }
        };
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        self.0.lock().unwrap().push(body);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap()).concat()
    }
}

/// Finds the spans in messages of OTLP: the fields 1, 2 and 4 of a span have 16, 8 and 8 bytes.
fn spans(bytes: &[u8]) -> Vec<Span> {
    let starts = (0..bytes.len().saturating_sub(28)).filter(|at| {
        bytes[*at..].starts_with(&[0x0a, 16]) && bytes[at + 18..].starts_with(&[0x12, 8])
    });
    let spans = starts.map(|at| {
        let rest = &bytes[at + 28..];
        let parent = rest.starts_with(&[0x22, 8]).then(|| rest[2..10].to_vec());
        Span {
            trace: bytes[at + 2..at + 18].to_vec(),
            id: bytes[at + 20..at + 28].to_vec(),
            parent,
        }
    });
    spans.collect()
}

#[tokio::test]
async fn a_call_and_its_request_are_spans_of_one_trace() {
    let (sink, url) = Sink::start().await;
    let directory = tempfile::tempdir().unwrap();
    let auth = directory.path().join("auth.toml").display().to_string();
    let digest = TokenDigest::of("the token").to_hex();
    let principal = format!(
        "[[principal]]\nname = \"alice\"\nroles = [\"agent-full\"]\ntoken_sha256 = \"{digest}\"\n"
    );
    fs::write(&auth, principal).unwrap();
    let options = ["--auth", &auth, "--otlp", &url];
    let mut server = Running::start([&["serve", "tcp://127.0.0.1:0"], &options[..]].concat());
    let line = server.line().await;
    let endpoint = line.strip_prefix("listening on ").unwrap();
    let mut call = program(["call", endpoint, "the secret", "--otlp", &url]);
    call.args(["--token", "the token"]);
    call.env("OTEL_SERVICE_NAME", "caller");
    assert!(within(call.output()).await.unwrap().status.success());
    let client_bytes = sink.take();
    let client = spans(&client_bytes);
    assert_eq!(client.len(), 1, "{client:?}");
    server.send(rustix::process::Signal::TERM);
    assert_eq!(server.end().await.code, 0);
    let server_bytes = sink.take();
    let served = spans(&server_bytes);
    assert_eq!(served.len(), 1, "{served:?}");
    assert_eq!(served[0].trace, client[0].trace);
    assert_eq!(served[0].parent.as_ref(), Some(&client[0].id));
    let has = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(has(&client_bytes, "caller"));
    assert!(has(&server_bytes, "echo/process") && has(&server_bytes, "rpc.system"));
    for bytes in [&client_bytes, &server_bytes] {
        for secret in ["the secret", "the token", &digest] {
            assert!(!has(bytes, secret), "{secret} is exported");
        }
    }
    let traces: BTreeSet<_> = client
        .iter()
        .chain(&served)
        .map(|span| &span.trace)
        .collect();
    assert_eq!(traces.len(), 1);
}

#[tokio::test]
async fn a_collector_that_cannot_be_used_is_a_usage_error_and_an_absent_one_is_not() {
    let secure = run([
        "ping",
        "tcp://127.0.0.1:1",
        "--otlp",
        "https://collector:4318",
    ])
    .await;
    assert_eq!(
        secure.error(2),
        "--otlp: expected http://HOST:PORT, found \"https://collector:4318\""
    );
    for fraction in ["7", "-0.1", "NaN", "x"] {
        let option = format!("--otlp-sample={fraction}");
        let refused = run(["token", &option]).await;
        let error = refused.error(2);
        assert!(error.contains("expected a number from 0 to 1"), "{error}");
    }
    // The variable is often set for other programs.
    let mut token = program(["token"]);
    let variable = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");
    let output = token.env(variable.0, variable.1).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.contains("spans are not exported"), "{warning}");
}
