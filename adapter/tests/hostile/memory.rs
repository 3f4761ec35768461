//! Requests, frames and answers of hostile peers use no more memory than the budget of the server.
//!
//! Each server runs in a process of its own, which is this test binary. The bounds are the peak of
//! the resident memory of that process. `AGENTWIRE_HOSTILE=full` selects the full sizes. The peers
//! use Unix sockets, because the kernel buffers only little for them: what is written has been read
//! by the server, and what the server could not write is still in its memory.

#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    time::Duration,
};

use agentwire::{Error, LocalAgent, Message, RemoteAgent, RetryPolicy, agent_fn};
use agentwire_codec::{Body, Envelope, ErrorCode, Format};
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{sleep, timeout},
};

use crate::common::within;

/// The sizes of a test, in bytes.
pub(crate) struct Sizes {
    pub(crate) budget: usize,
    pub(crate) frame: usize,
}

pub(crate) fn sizes() -> Sizes {
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
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let agent = agent_fn("slow", |message: Message| async move {
            match message.content.as_str() {
                Some("small") => {}
                None if message.role == "brief" => {}
                Some("large") => return Ok(Message::agent("x".repeat(sizes().frame))),
                _ => sleep(Duration::from_secs(3600)).await,
            }
            Ok(Message::agent("ok"))
        });
        let server = LocalAgent::builder(agent)
            .endpoint(std::env::var(ENDPOINT).unwrap().as_str())
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

/// A server in a process of its own.
pub(crate) struct Server {
    child: Child,
    directory: TempDir,
    endpoint: String,
    start: usize,
}

impl Server {
    fn start(budget: usize) -> Self {
        Self::start_at(budget, None)
    }

    /// Starts a server at an endpoint, or else at a socket of its own.
    pub(crate) fn start_at(budget: usize, at: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = endpoint(&directory);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["memory::server", "--exact", "--ignored", "--nocapture"])
            .env(BUDGET, budget.to_string())
            .env(ENDPOINT, at.unwrap_or(&own))
            // glibc returns large blocks at once, and does not learn to keep them.
            .env("MALLOC_MMAP_THRESHOLD_", "65536")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let endpoint = lines.find_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("serving ").map(str::to_owned)
        });
        let mut server = Self {
            child,
            directory,
            endpoint: endpoint.unwrap(),
            start: 0,
        };
        server.start = server.status("VmRSS:");
        server
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn status(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Returns the largest growth of the resident memory.
    pub(crate) fn peak(&self) -> usize {
        self.status("VmHWM:").saturating_sub(self.start)
    }

    async fn connect(&self) -> UnixStream {
        let path = self.directory.path().join(SOCKET);
        within(UnixStream::connect(path)).await.unwrap()
    }

    /// Calls the agent on a new connection.
    pub(crate) async fn small_call(&self) {
        let remote = RemoteAgent::builder(self.endpoint())
            .retry(RetryPolicy::never())
            .build()
            .unwrap();
        let reply: Result<_, Error> = within(remote.process(Message::user("small"))).await;
        assert_eq!(reply.unwrap().text(), Some("ok"));
        remote.close().await;
    }
}

fn endpoint(directory: &TempDir) -> String {
    format!("unix://{}", directory.path().join(SOCKET).display())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Allows more open files than the usual 1024. The tests share the limit of their process.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|now| now < current) {
        let raised = Rlimit {
            current: Some(current),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}

/// The values of a request that are not lists, in the order in which they are written.
const PLACES: [&str; 11] = [
    "version",
    "type",
    "id",
    "timestamp",
    "payload",
    "method",
    "agent_name",
    "message",
    "role",
    "metadata",
    "message timestamp",
];

/// Returns a frame with a list in one place, whose encoding takes about `len` bytes: zeros in
/// MessagePack, or maps in JSON.
fn frame_with_list(format: Format, kind: &str, role: &str, place: &str, len: usize) -> Vec<u8> {
    let is_json = format == Format::Json;
    let mut payload = Vec::new();
    let open = |payload: &mut Vec<u8>, entries: u8| {
        payload.push(if is_json { b'{' } else { 0x80 | entries });
    };
    let list = |payload: &mut Vec<u8>| {
        if is_json {
            payload.push(b'[');
            payload.extend_from_slice(br#"{"a":0},"#.repeat(len / 8).as_slice());
            payload.pop();
            payload.push(b']');
        } else {
            payload.push(0xdd);
            payload.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
            payload.resize(payload.len() + len, 0);
        }
    };
    let string = |payload: &mut Vec<u8>, value: &str| {
        if is_json {
            payload.extend_from_slice(format!("{value:?}").as_bytes());
        } else {
            text(payload, value);
        }
    };
    let key = |payload: &mut Vec<u8>, key: &str| {
        if is_json && payload.last() != Some(&b'{') {
            payload.push(b',');
        }
        string(payload, key);
        if is_json {
            payload.push(b':');
        }
    };
    let end = |payload: &mut Vec<u8>| {
        if is_json {
            payload.push(b'}');
        }
    };
    let entry = |payload: &mut Vec<u8>, name: &str, entry: &str, value: &str| {
        key(payload, name);
        if place == entry {
            list(payload);
        } else {
            string(payload, value);
        }
    };
    let time = "2026-11-28T12:00:00+00:00";
    open(&mut payload, 5);
    entry(&mut payload, "version", "version", "1.0");
    entry(&mut payload, "type", "type", kind);
    entry(&mut payload, "id", "id", "7");
    entry(&mut payload, "timestamp", "timestamp", time);
    key(&mut payload, "payload");
    if place == "payload" {
        list(&mut payload);
    } else {
        open(&mut payload, 3);
        entry(&mut payload, "method", "method", "process");
        entry(&mut payload, "agent_name", "agent_name", "slow");
        key(&mut payload, "message");
        if place == "message" {
            list(&mut payload);
        } else {
            open(&mut payload, 4);
            entry(&mut payload, "role", "role", role);
            entry(&mut payload, "content", "content", "small");
            if place == "metadata" {
                key(&mut payload, "metadata");
                list(&mut payload);
            } else {
                key(&mut payload, "metadata");
                open(&mut payload, 0);
                end(&mut payload);
            }
            entry(&mut payload, "timestamp", "message timestamp", time);
            end(&mut payload);
        }
        end(&mut payload);
    }
    end(&mut payload);
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.append(&mut payload);
    frame
}

/// Returns a frame whose content is a list of about `len` bytes.
fn list_frame(format: Format, kind: &str, len: usize) -> Vec<u8> {
    frame_with_list(format, kind, "user", "content", len)
}

fn text(payload: &mut Vec<u8>, text: &str) {
    payload.push(0xa0 | u8::try_from(text.len()).unwrap());
    payload.extend_from_slice(text.as_bytes());
}

async fn read_answer(peer: &mut UnixStream) -> Envelope {
    let len = within(peer.read_u32()).await.unwrap();
    let mut payload = vec![0; len as usize];
    within(peer.read_exact(&mut payload)).await.unwrap();
    Format::detect(&payload).decode(&payload).unwrap()
}

/// Writes until the server stops reading. Returns whether everything was written.
async fn write_until_blocked(peer: &mut UnixStream, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok(written) = timeout(BLOCKED_AFTER, peer.write(rest)).await else {
            return false;
        };
        rest = &rest[written.unwrap()..];
    }
    true
}

pub(crate) fn check(name: &str, peak: usize, bound: usize) {
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
            max_growth(budget / 2),
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
        let peer = server.connect().await;
        peers.push(peer);
    }
    let held_back = &frame[..frame.len() - 1];
    let writes = peers.iter_mut();
    join_all(writes.map(|peer| write_until_blocked(peer, held_back))).await;
    server.small_call().await;
    check("held-back frames", server.peak(), max_growth(budget));
}

#[tokio::test(flavor = "multi_thread")]
async fn announcements_use_little_memory() {
    let Sizes { budget, frame } = sizes();
    raise_file_limit();
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
                max_growth(budget / 2),
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_any_place_of_a_request_uses_little_more_memory_than_an_accepted_one() {
    let Sizes { budget, frame } = sizes();
    for format in [Format::MessagePack, Format::Json] {
        let server = Server::start(budget);
        let mut peer = server.connect().await;
        let mut bound = 0;
        for place in std::iter::once(ACCEPTED_PLACE).chain(PLACES) {
            let request = frame_with_list(format, "request", "brief", place, frame / 8);
            for _ in 0..2 {
                peer.write_all(&request).await.unwrap();
                let answer = read_answer(&mut peer).await;
                let is_accepted = [ACCEPTED_PLACE, "timestamp"].contains(&place);
                assert_eq!(
                    matches!(answer.body, Body::Response(_)),
                    is_accepted,
                    "{place}: {answer:?}"
                );
            }
            if place == ACCEPTED_PLACE {
                bound = server.peak() + MAX_MORE_THAN_ACCEPTED;
            }
            let name = format!("a list as {place} in {format:?}");
            check(&name, server.peak(), bound);
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
    for peer in &mut peers {
        within(peer.read_u8()).await.unwrap();
    }
    server.small_call().await;
    check("unread answers", server.peak(), max_growth(budget));
}

pub(crate) const MIB: usize = 1024 * 1024;
const BUDGET: &str = "AGENTWIRE_TEST_MEMORY_BUDGET";
const ENDPOINT: &str = "AGENTWIRE_TEST_ENDPOINT";
const SOCKET: &str = "agent.sock";

/// How many requests one connection sends.
const REQUESTS: usize = 64;

/// How many connections hold back the last byte of a frame, or do not read an answer.
pub(crate) const HELD_BACK: usize = 100;

/// How many connections send only a header.
const ANNOUNCEMENTS: usize = 1000;

/// How many files a process may open: more than all connections of all tests.
const FILES: u64 = 4096;

/// The most that a server uses for requests and answers that may use `budget`: a quarter more, for
/// the buffers of connections and what the allocator keeps.
pub(crate) const fn max_growth(budget: usize) -> usize {
    budget + budget / 4
}

/// The most that silent announcements may use.
const MAX_ANNOUNCED: usize = 16 * MIB;

/// A place in which an agent accepts a list.
const ACCEPTED_PLACE: &str = "content";

/// The most that a refused request may use in addition to an accepted one of the same size.
const MAX_MORE_THAN_ACCEPTED: usize = 4 * MIB;

/// How long a write may make no progress before the server counts as not reading.
pub(crate) const BLOCKED_AFTER: Duration = Duration::from_millis(500);
