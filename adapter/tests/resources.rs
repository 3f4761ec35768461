//! Memory, tasks, file descriptors and counters return to where they were, whatever callers and
//! peers do.
//!
//! The allocator and the system count for the whole process, so these tests run one at a time, each
//! with its own runtime.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "it/common/frames.rs"]
mod frames;
#[path = "it/common/scripted_agent.rs"]
mod scripted_agent;
#[path = "it/common/waiting.rs"]
mod waiting;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    Agent, AgentError, CallOptions, Endpoint, LocalAgent, Message, RemoteAgent, RemoteAgentBuilder,
    RequestContext,
    registry::{LocalRegistry, Registration, Registry, RegistryConfig, RegistryServer},
    transport::{self, internal::Mutex},
};
use fastrand::Rng;
use futures_core::Stream;
use futures_util::{future::join_all, stream};
use peak_alloc::PeakAlloc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::{Builder, Handle},
};

use self::{
    frames::{process_frame, stream_frame},
    scripted_agent::ScriptedAgent,
    waiting::{until, within},
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Runs a test while no other test of this binary runs.
fn alone<F: Future<Output = ()>>(runtime: &mut Builder, test: impl FnOnce() -> F) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock();
    runtime.enable_all().build().unwrap().block_on(test());
}

const CALLS: usize = 50_000;
const CALLERS: usize = 50;

/// Ends calls in every way that a caller can, and checks that each answer belongs to its call.
async fn misbehave(remote: RemoteAgent, mut random: Rng, calls: usize) {
    for number in 0..calls {
        let text = format!("{number} {}", random.u64(..));
        let message = Message::user(text.as_str());
        match random.u8(..10) {
            0..6 => {
                let reply = remote.process(message).await.unwrap();
                assert_eq!(reply.text(), Some(text.as_str()));
            }
            6 => {
                // The call is dropped after a few polls.
                let polls = random.usize(..6);
                let mut call = Box::pin(remote.process(message));
                for _ in 0..polls {
                    let polled = futures_util::poll!(&mut call);
                    if let std::task::Poll::Ready(reply) = polled {
                        assert_eq!(reply.unwrap().text(), Some(text.as_str()));
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            7 => {
                let options = CallOptions::new().timeout(Duration::from_micros(random.u64(..500)));
                let hanging = message.with_metadata("do", "hang");
                let error = remote.process_with(hanging, &options).await.unwrap_err();
                assert!(error.is_timeout(), "{error}");
            }
            8 => {
                let mut chunks = remote.stream(message.with_metadata("count", 20));
                for _ in 0..random.usize(..10) {
                    let chunk = chunks.next().await.unwrap().unwrap();
                    assert_eq!(chunk.text(), Some(text.as_str()));
                }
            }
            _ => {
                let failing = message.with_metadata("do", "fail");
                assert!(remote.process(failing).await.unwrap_err().is_remote());
            }
        }
    }
}

async fn many_calls(remote: &RemoteAgent, seed: u64, calls: usize) {
    let callers = (0..CALLERS).map(|caller| {
        let random = Rng::with_seed(seed ^ caller as u64);
        tokio::spawn(misbehave(remote.clone(), random, calls / CALLERS))
    });
    for caller in join_all(callers).await {
        caller.unwrap();
    }
}

fn open_files() -> usize {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.count(),
        // Only Linux has this directory.
        Err(_) => 0,
    }
}

async fn nothing_is_left_behind(settings: impl Fn(RemoteAgentBuilder) -> RemoteAgentBuilder) {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::unix(directory.path().join("agent.sock")).unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let (files_before, tasks_before) = (open_files(), tasks());
    let server = LocalAgent::serve(ScriptedAgent, &endpoint).await.unwrap();
    let (files_serving, tasks_serving) = (open_files(), tasks());

    let mut levels = Vec::new();
    for (round, calls) in [CALLS / 10, CALLS * 9 / 10].into_iter().enumerate() {
        let remote = settings(RemoteAgent::builder(&endpoint)).build().unwrap();
        tokio::time::timeout(
            Duration::from_secs(300),
            many_calls(&remote, round as u64, calls),
        )
        .await
        .unwrap();
        let stats = remote.stats();
        assert_eq!((stats.in_flight, stats.waiting), (0, 0), "{stats:?}");
        until("given up connections are closed", || {
            remote.stats().open == remote.stats().idle
        })
        .await;
        within(remote.close()).await;
        drop(remote);
        until("connections and tasks are gone", || {
            open_files() == files_serving && tasks() == tasks_serving
        })
        .await;
        levels.push(ALLOCATOR.current_usage());
    }
    // The runtime keeps some of the memory that it once needed.
    let grown = levels[1].saturating_sub(levels[0]);
    assert!(
        grown < 256 * 1024,
        "memory grew by {grown} bytes: {levels:?}"
    );

    within(server.stop()).await;
    drop(server);
    until("the server is gone", || {
        open_files() == files_before && tasks() == tasks_before
    })
    .await;
}

#[test]
fn calls_with_connections_of_their_own_leave_nothing_behind() {
    alone(Builder::new_multi_thread().worker_threads(2), || {
        nothing_is_left_behind(|builder| builder.max_connections(32))
    });
}

#[test]
fn calls_that_share_connections_leave_nothing_behind() {
    alone(Builder::new_multi_thread().worker_threads(2), || {
        nothing_is_left_behind(|builder| {
            // The server does not see that a hanging call was given up, so each connection fills up
            // with such calls.
            builder.max_connections(4).max_in_flight_per_connection(16)
        })
    });
}

/// Calls the agent once over a blocking socket, which needs no memory, task or file that is
/// counted.
#[cfg(unix)]
fn called_once(path: &std::path::Path) -> std::os::unix::net::UnixStream {
    use std::io::{Read, Write};

    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let request = process_frame("7", Message::user("x".repeat(1000)));
    stream.write_all(&request).unwrap();
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(len) as usize];
    stream.read_exact(&mut answer).unwrap();
    stream
}

#[cfg(unix)]
#[test]
fn an_idle_connection_costs_a_server_little() {
    const CONNECTIONS: usize = 400;
    alone(Builder::new_multi_thread().worker_threads(2), || async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.sock");
        let server = LocalAgent::serve(ScriptedAgent, Endpoint::unix(&path).unwrap())
            .await
            .unwrap();
        // Later connections share what the first ones allocate.
        let first: Vec<_> = (0..CONNECTIONS / 4).map(|_| called_once(&path)).collect();
        let before = ALLOCATOR.current_usage();
        let mut idle = Vec::with_capacity(CONNECTIONS);
        idle.extend((0..CONNECTIONS).map(|_| called_once(&path)));
        let each = ALLOCATOR.current_usage().saturating_sub(before) / CONNECTIONS;
        println!("an idle connection costs {each} bytes");
        assert!(each <= 2048, "an idle connection costs {each} bytes");
        drop((first, idle));
        within(server.stop()).await;
    });
}

/// An agent that streams chunks of 16 KiB without an end, and counts them.
struct Endless(Arc<AtomicU64>);

const CHUNK: usize = 16 * 1024;

impl Agent for Endless {
    fn name(&self) -> &str {
        "endless"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        Ok(message)
    }

    fn stream(
        &self,
        _: Message,
        _: RequestContext,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let counter = Arc::clone(&self.0);
        stream::repeat_with(move || {
            counter.fetch_add(1, Relaxed);
            Ok(Message::agent("x".repeat(CHUNK)))
        })
    }
}

#[test]
fn an_endless_stream_to_a_reader_that_does_not_read_stays_small() {
    alone(
        Builder::new_current_thread().start_paused(true),
        endless_stream,
    );
}

async fn endless_stream() {
    let made = Arc::new(AtomicU64::new(0));
    let server = LocalAgent::serve(Endless(Arc::clone(&made)), "memory://resources-endless")
        .await
        .unwrap();

    // A client that takes one chunk and then stops reading.
    let remote = RemoteAgent::new(server.endpoint()).unwrap();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let mut chunks = remote.stream(Message::user("go"));
    chunks.next().await.unwrap().unwrap();
    // The paused clock advances only when all tasks wait.
    tokio::time::sleep(Duration::from_secs(20)).await;
    let stuck = made.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(made.load(Relaxed), stuck, "the agent waits");
    let grown = ALLOCATOR.peak_usage() - before;
    assert!(grown < 1024 * 1024, "{grown} bytes for {stuck} chunks");
    // The stream continues without a loss.
    for _ in 0..2 * stuck {
        chunks.next().await.unwrap().unwrap();
    }
    drop(chunks);

    // A peer that opens a stream and never reads.
    let mut peer = transport::connect(server.endpoint()).await.unwrap();
    peer.write_all(&stream_frame("7", Message::user("go")))
        .await
        .unwrap();
    ALLOCATOR.reset_peak_usage();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let grown = ALLOCATOR.peak_usage() - before;
    assert!(grown < 1024 * 1024, "{grown} bytes");
}

/// Registers all agents with metadata that no other generation has.
async fn register_generation(registry: &LocalRegistry, generation: usize) {
    for number in 0..AGENTS {
        let endpoint = Endpoint::tcp("198.51.100.1", 80).unwrap();
        let registration = Registration::new(format!("agent {number}"), endpoint)
            .with_instance("")
            .with_metadata("generation", generation)
            .with_metadata("text", "x".repeat(AGENT_SIZE));
        registry.register(registration).await.unwrap();
    }
}

#[test]
fn watches_that_read_nothing_hold_neither_snapshots_nor_old_registrations() {
    alone(&mut Builder::new_current_thread(), || async {
        let config = RegistryConfig::new().watch_buffer(16);
        let registry = LocalRegistry::with_config(config).unwrap();
        register_generation(&registry, 0).await;
        let directory = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::unix(directory.path().join("registry.sock")).unwrap();
        let server = RegistryServer::builder(registry.clone())
            .max_watches_per_peer(WATCHES)
            .endpoint(endpoint);
        let server = within(server.serve()).await.unwrap();
        let before = ALLOCATOR.current_usage();
        let mut watches = Vec::new();
        for _ in 0..WATCHES {
            let mut watch = within(transport::connect(server.endpoint())).await.unwrap();
            let request = br#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "watch"}}"#;
            let len = u32::try_from(request.len()).unwrap().to_be_bytes();
            watch.write_all(&len).await.unwrap();
            watch.write_all(request).await.unwrap();
            // The snapshot begins to arrive.
            within(watch.read_u32()).await.unwrap();
            watches.push(watch);
        }
        let each = ALLOCATOR.current_usage().saturating_sub(before) / WATCHES;
        println!("a watch that reads nothing takes {each} bytes");
        assert!(each < MAX_PER_WATCH, "{each} bytes for each watch");
        let before = ALLOCATOR.current_usage();
        for generation in 1..=3 {
            register_generation(&registry, generation).await;
        }
        let grown = ALLOCATOR.current_usage().saturating_sub(before);
        println!("three new generations pin {grown} bytes");
        assert!(grown < AGENTS * AGENT_SIZE / 4, "{grown} bytes");
    });
}

const AGENTS: usize = 2000;
const AGENT_SIZE: usize = 10_000;

/// The watches and their peers use two descriptors each.
const WATCHES: usize = 300;

/// A connection, a queue, and a part of the snapshot.
const MAX_PER_WATCH: usize = 96 * 1024;
