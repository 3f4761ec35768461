//! Outcomes that two servers share through Redis.

use std::{
    env,
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    AgentError, CallOptions, ErrorCode, LocalAgent, Map, Message, RemoteAgent, RetryPolicy,
    ToolResult, agent_fn, registry::RedisOutcomes, tool_fn,
};
use tempfile::TempDir;
use tokio::{net::TcpStream, sync::Notify};

use crate::common::within;

/// A redis-server, which is killed on drop.
struct RedisServer {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl RedisServer {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let dir = tempfile::tempdir().unwrap();
        let program = env::var_os("AGENTWIRE_REDIS_SERVER");
        let program = program.unwrap_or_else(|| "redis-server".into());
        let process = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
            .arg("--port")
            .arg(port.to_string())
            .arg("--dir")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server");
        let server = Self {
            process,
            port,
            _dir: dir,
        };
        within(async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_err()
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        server
    }

    fn outcomes(&self) -> RedisOutcomes {
        RedisOutcomes::new(&format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What two servers have in common.
#[derive(Default)]
struct Work {
    runs: AtomicU64,
    started: Notify,
    release: Notify,
}

/// Serves an agent that waits until it is released, and fails if the message says so.
async fn serve(redis: &RedisServer, work: &Arc<Work>) -> (LocalAgent, RemoteAgent) {
    let waits = Arc::clone(work);
    let agent = agent_fn("once", move |message: Message| {
        let work = Arc::clone(&waits);
        async move {
            work.runs.fetch_add(1, Relaxed);
            work.started.notify_one();
            if message.text() == Some("fail") {
                return Err(AgentError::with_code("NO", "never"));
            }
            if message.text() == Some("wait") {
                work.release.notified().await;
            }
            Ok(Message::agent("done"))
        }
    });
    let runs = Arc::clone(work);
    let tool = tool_fn("count", move |_: Map| {
        let runs = runs.runs.fetch_add(1, Relaxed);
        async move { Ok(ToolResult::success(runs)) }
    });
    let server = LocalAgent::builder(agent)
        .tool(tool)
        .keep_outcomes(Duration::from_secs(60), 1 << 20)
        .share_outcomes(redis.outcomes())
        // Callers on loopback are the same peer for all servers.
        .endpoint("tcp://127.0.0.1:0")
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .retry(RetryPolicy::never())
        .build()
        .unwrap();
    (server, remote)
}

#[tokio::test]
async fn a_request_that_is_repeated_at_another_server_is_processed_once() {
    let redis = RedisServer::start().await;
    let work = Arc::new(Work::default());
    let (_first, here) = serve(&redis, &work).await;
    let (_second, there) = serve(&redis, &work).await;
    let with_key = |key: &str| CallOptions::new().idempotency_key(key);
    let [first, second, third] = ["a", "b", "c"].map(with_key);

    // The second server joins the request that the first one processes.
    let call = |remote: &RemoteAgent| {
        let (remote, options) = (remote.clone(), first.clone());
        tokio::spawn(async move { remote.process_with(Message::user("wait"), &options).await })
    };
    let one = call(&here);
    within(work.started.notified()).await;
    let conflict = there.process_with(Message::user("another"), &first);
    let conflict = within(conflict).await.unwrap_err();
    assert_eq!(conflict.code(), ErrorCode::INVALID_MESSAGE);
    let other = call(&there);
    work.release.notify_one();
    let one = within(one).await.unwrap().unwrap();
    assert!(one.metadata.is_empty());
    let other = within(other).await.unwrap().unwrap();
    assert_eq!(other.text(), Some("done"));
    assert_eq!(other.metadata["idempotent_replay"], true);
    assert_eq!(work.runs.load(Relaxed), 1);

    // Errors and the results of tools are outcomes as well.
    for (remote, is_replay) in [(&here, false), (&there, true), (&here, true)] {
        let failed = remote.process_with(Message::user("fail"), &second);
        let failed = within(failed).await.unwrap_err();
        assert_eq!(failed.code().as_str(), "NO");
        let details = &failed.remote().unwrap().details;
        assert_eq!(details.contains_key("idempotent_replay"), is_replay);
        let counted = remote.execute_with("count", Map::new(), &third);
        assert_eq!(within(counted).await.unwrap().data, 2);
    }
    assert_eq!(work.runs.load(Relaxed), 3);
}

#[tokio::test]
async fn requests_with_keys_are_refused_while_redis_is_down() {
    let redis = RedisServer::start().await;
    let work = Arc::new(Work::default());
    let (_server, remote) = serve(&redis, &work).await;
    drop(redis);
    let options = CallOptions::new().idempotency_key("a");
    let error = within(remote.process_with(Message::user("hi"), &options))
        .await
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::AGENT_UNAVAILABLE);
    assert_eq!(error.remote().unwrap().details["reason"], "outcomes");
    within(remote.process(Message::user("hi"))).await.unwrap();
    assert_eq!(work.runs.load(Relaxed), 1);
}
