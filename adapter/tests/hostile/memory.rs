//! Requests, frames and answers of hostile peers use no more memory than the budget of the server.
//!
//! Each server runs in a process of its own, which is this test binary. The bounds are the peak of
//! the resident memory of that process. `AGENTWIRE_HOSTILE=full` selects the full sizes.

#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Duration,
};

use agentwire::{Error, LocalAgent, Message, RemoteAgent, RetryPolicy, agent_fn};
use agentwire_codec::{Body, Envelope, ErrorCode, Format};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use crate::common::within;

/// The sizes of a test, in bytes.
struct Sizes {
    budget: usize,
    frame: usize,
}

fn sizes() -> Sizes {
    if std::env::var("AGENTWIRE_HOSTILE").is_ok_and(|sizes| sizes == "full") {
        return Sizes {
            budget: 256 * MIB,
            frame: 10 * MIB - 1024,
        };
    }
    Sizes {
        budget: 32 * MIB,
        frame: 2 * MIB,
    }
}

/// Not a test of its own: the server of the other tests, in another process.
#[test]
#[ignore = "the other tests run this server"]
fn server() {
    let Ok(budget) = std::env::var(BUDGET) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let agent = agent_fn("slow", |message: Message| async move {
            match message.content.as_str() {
                Some("small") => {}
                Some("large") => return Ok(Message::agent("x".repeat(sizes().frame))),
                _ => sleep(Duration::from_secs(3600)).await,
            }
            Ok(Message::agent("ok"))
        });
        let server = LocalAgent::builder(agent)
            .endpoint("tcp://127.0.0.1:0")
            .memory_budget(budget.parse().unwrap())
            .serve()
            .await
            .unwrap();
        println!("\nserving {}", server.endpoint());
        // The parent closes the pipe.
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()))
            .await
            .unwrap()
            .unwrap();
        std::process::exit(0);
    });
}

struct Server {
    child: Child,
    address: String,
    start: usize,
}

impl Server {
    fn start(budget: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["memory::server", "--exact", "--ignored", "--nocapture"])
            .env(BUDGET, budget.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("serving tcp://")?.to_owned()))
            .unwrap();
        let mut server = Self {
            child,
            address,
            start: 0,
        };
        server.start = server.status("VmRSS:");
        server
    }

    fn status(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Returns the largest growth of the resident memory.
    fn peak(&self) -> usize {
        self.status("VmHWM:").saturating_sub(self.start)
    }

    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(&self.address)).await.unwrap()
    }

    /// Calls the agent on a new connection.
    async fn small_call(&self) {
        let remote = RemoteAgent::builder(format!("tcp://{}", self.address).as_str())
            .retry(RetryPolicy::never())
            .build()
            .unwrap();
        let reply: Result<_, Error> = within(remote.process(Message::user("small"))).await;
        assert_eq!(reply.unwrap().text(), Some("ok"));
        remote.close().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A frame with a content of about `len` bytes: MessagePack zeros, or maps in JSON.
fn list_frame(format: Format, kind: &str, len: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    match format {
        Format::MessagePack => {
            payload.push(0x84);
            for (key, value) in [("version", "1.0"), ("type", kind), ("id", "7")] {
                text(&mut payload, key);
                text(&mut payload, value);
            }
            text(&mut payload, "payload");
            payload.push(0x82);
            text(&mut payload, "method");
            text(&mut payload, "process");
            text(&mut payload, "message");
            payload.push(0x82);
            text(&mut payload, "role");
            text(&mut payload, "user");
            text(&mut payload, "content");
            payload.push(0xdd);
            payload.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
            payload.resize(payload.len() + len, 0);
        }
        _ => {
            let count = len / 8;
            payload.extend_from_slice(
                format!(r#"{{"version":"1.0","type":"{kind}","id":"7","payload":{{"method":"process","message":{{"role":"user","content":["#).as_bytes(),
            );
            payload.extend_from_slice(br#"{"a":0},"#.repeat(count).as_slice());
            payload.pop();
            payload.extend_from_slice(b"]}}}");
        }
    }
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.append(&mut payload);
    frame
}

fn text(payload: &mut Vec<u8>, text: &str) {
    payload.push(0xa0 | u8::try_from(text.len()).unwrap());
    payload.extend_from_slice(text.as_bytes());
}

async fn read_answer(peer: &mut TcpStream) -> Envelope {
    let len = within(peer.read_u32()).await.unwrap();
    let mut payload = vec![0; len as usize];
    within(peer.read_exact(&mut payload)).await.unwrap();
    Format::detect(&payload).decode(&payload).unwrap()
}

/// Writes until the server stops reading. Returns whether everything was written.
async fn write_until_blocked(peer: &mut TcpStream, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok(written) = timeout(BLOCKED_AFTER, peer.write(rest)).await else {
            return false;
        };
        rest = &rest[written.unwrap()..];
    }
    true
}

fn check(name: &str, peak: usize, bound: usize) {
    println!("{name}: peak {} MiB, bound {} MiB", peak / MIB, bound / MIB);
    assert!(peak < bound, "{name}: {peak} bytes, bound {bound}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_with_many_large_requests_stays_within_the_budget() {
    let Sizes { budget, frame } = sizes();
    for format in [Format::MessagePack, Format::Json] {
        let server = Server::start(budget);
        let mut peers = Vec::new();
        // The first frames fit into the budget, a few at a time. The others are refused, each alone.
        for len in [frame / 8, frame] {
            let frame = list_frame(format, "request", len);
            let mut peer = server.connect().await;
            for _ in 0..REQUESTS {
                if !write_until_blocked(&mut peer, &frame).await {
                    break;
                }
            }
            server.small_call().await;
            peers.push(peer);
        }
        check(
            &format!("64 requests in {format:?}"),
            server.peak(),
            budget + SLACK,
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_whose_last_byte_is_held_back_stay_within_the_budget() {
    let Sizes { budget, frame } = sizes();
    let server = Server::start(budget);
    let frame = list_frame(Format::MessagePack, "request", frame);
    let mut peers = Vec::new();
    for _ in 0..HELD_BACK {
        let mut peer = server.connect().await;
        write_until_blocked(&mut peer, &frame[..frame.len() - 1]).await;
        peers.push(peer);
    }
    server.small_call().await;
    check("held-back frames", server.peak(), budget + SLACK);
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_use_little_memory() {
    let Sizes { budget, frame } = sizes();
    let server = Server::start(budget);
    let mut peers = Vec::new();
    for _ in 0..ANNOUNCEMENTS {
        let mut peer = server.connect().await;
        peer.write_u32(u32::try_from(frame).unwrap()).await.unwrap();
        peers.push(peer);
    }
    server.small_call().await;
    check("announcements", server.peak(), MAX_ANNOUNCED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_frame_uses_little_more_memory_than_an_accepted_one() {
    let Sizes { budget, frame } = sizes();
    for format in [Format::MessagePack, Format::Json] {
        for kind in ["response", "heartbeat", "stream_end", "odd"] {
            let server = Server::start(budget);
            let mut peer = server.connect().await;
            let frame = list_frame(format, kind, frame / 8);
            for _ in 0..4 {
                peer.write_all(&frame).await.unwrap();
                let answer = read_answer(&mut peer).await;
                assert!(matches!(answer.body, Body::Error(_)), "{answer:?}");
            }
            check(
                &format!("refusals of {kind} in {format:?}"),
                server.peak(),
                budget / 2 + SLACK,
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_never_fits_is_refused_and_its_connection_stays_usable() {
    let Sizes { budget, frame } = sizes();
    let server = Server::start(budget);
    let mut peer = server.connect().await;
    let large = list_frame(Format::MessagePack, "request", frame);
    peer.write_all(&large).await.unwrap();
    let answer = read_answer(&mut peer).await;
    assert_eq!(answer.id.to_string(), "7");
    let Body::Error(error) = answer.body else {
        panic!("{:?}", answer.body)
    };
    assert_eq!(error.code, ErrorCode::MALFORMED_PAYLOAD);
    assert_eq!(error.details["reason"], "memory");
    peer.write_all(&crate::common::process_frame("8", Message::user("small")))
        .await
        .unwrap();
    assert_eq!(read_answer(&mut peer).await.id.to_string(), "8");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_that_nobody_reads_stay_within_the_budget() {
    let Sizes { budget, .. } = sizes();
    let server = Server::start(budget);
    let request = crate::common::process_frame("7", Message::user("large"));
    let mut peers = Vec::new();
    for _ in 0..HELD_BACK {
        let mut peer = server.connect().await;
        peer.write_all(&request).await.unwrap();
        peers.push(peer);
    }
    // Every answer has been encoded or refused once its first byte can be read.
    for peer in &peers {
        assert_eq!(within(peer.peek(&mut [0])).await.unwrap(), 1);
    }
    server.small_call().await;
    check("unread answers", server.peak(), budget + SLACK);
}

const MIB: usize = 1024 * 1024;
const BUDGET: &str = "AGENTWIRE_TEST_MEMORY_BUDGET";

/// How many requests one connection sends.
const REQUESTS: usize = 64;

/// How many connections hold back the last byte of a frame, or do not read an answer.
const HELD_BACK: usize = 100;

/// How many connections send only a header.
const ANNOUNCEMENTS: usize = 500;

/// The most that a server uses in addition to its budget.
const SLACK: usize = 150_000_000;

/// The most that silent announcements may use.
const MAX_ANNOUNCED: usize = 16 * MIB;

/// How long a write may make no progress before the server counts as not reading.
const BLOCKED_AFTER: Duration = Duration::from_millis(500);
