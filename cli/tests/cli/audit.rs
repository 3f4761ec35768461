//! The option `--audit`: a killed server, and a disk that is full.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use agentwire::{Error, Message, RemoteAgent, RetryPolicy};
use agentwire_codec::Value;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{Running, Server, parse_lines, within};

/// A server with a record.
struct Audited {
    directory: TempDir,
}

impl Audited {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.jsonl")
    }

    fn args(&self, policy: &str) -> Vec<String> {
        let endpoint = format!("unix://{}/a.sock", self.directory.path().display());
        let audit = self.path().display().to_string();
        [
            "serve",
            &endpoint,
            "--audit",
            &audit,
            "--audit-policy",
            policy,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn records(&self) -> Vec<Value> {
        records(&self.path())
    }
}

fn records(path: &Path) -> Vec<Value> {
    parse_lines(&fs::read_to_string(path).unwrap())
}

/// Checks that no record is missing or doubled.
#[track_caller]
fn assert_consecutive(records: &[Value]) {
    let numbers = records.iter().map(|record| record["seq"].as_u64().unwrap());
    assert!(numbers.eq(1..=records.len() as u64), "{records:?}");
}

fn client(server: &Server) -> RemoteAgent {
    RemoteAgent::builder(&*server.endpoint)
        .retry(RetryPolicy::never())
        .build()
        .unwrap()
}

async fn call(client: &RemoteAgent) -> Result<(), Error> {
    within(client.process(Message::user("hello")))
        .await
        .map(drop)
}

#[tokio::test]
async fn a_record_of_a_server_that_is_killed_has_whole_lines_and_goes_on() {
    let audited = Audited::new();
    for round in 1..=3 {
        let server = Server::start(audited.args("block")).await;
        let answered = Arc::new(AtomicU64::new(0));
        let callers = (0..4).map(|_| {
            let (client, answered) = (client(&server), Arc::clone(&answered));
            tokio::spawn(async move {
                while call(&client).await.is_ok() {
                    answered.fetch_add(1, Relaxed);
                }
            })
        });
        let callers: Vec<_> = callers.collect();
        while answered.load(Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
        server.running.send(Signal::KILL);
        server.running.end_killed().await;
        for caller in callers {
            caller.await.unwrap();
        }
        let text = fs::read_to_string(audited.path()).unwrap();
        let (whole, _rest) = text.split_at(text.rfind('\n').unwrap() + 1);
        assert_consecutive(&parse_lines(whole));
        assert!(whole.lines().count() > round * 50);
    }
    let server = Server::start(audited.args("block")).await;
    call(&client(&server)).await.unwrap();
    server.running.send(Signal::TERM);
    server.running.end().await.success();
    assert_consecutive(&audited.records());
}

#[tokio::test]
async fn a_server_that_cannot_record_refuses_requests_and_loses_nothing() {
    let audited = Audited::new();
    let running = Running::start_with_small_files(audited.args("deny"));
    let mut server = Server::from_running(running).await;
    let client = client(&server);
    let mut accepted = 0;
    let error = loop {
        match call(&client).await {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code().as_str(), "AGENT_UNAVAILABLE");
    let line = server.running.error_line().await;
    assert!(
        line.contains("audit record cannot be written; retrying"),
        "{line}"
    );
    server.running.allow_large_files();
    let line = server.running.error_line().await;
    assert!(line.contains("audit record is written again"), "{line}");
    call(&client).await.unwrap();
    accepted += 1;
    server.running.send(Signal::TERM);
    server.running.end().await.success();
    let records = audited.records();
    assert_consecutive(&records);
    assert_eq!(records.len(), accepted);
}

#[tokio::test]
async fn requests_wait_for_a_record_that_cannot_be_written() {
    let audited = Audited::new();
    let running = Running::start_with_small_files(audited.args("block"));
    let mut server = Server::from_running(running).await;
    let calls = {
        let client = client(&server);
        tokio::spawn(async move {
            for _ in 0..200 {
                call(&client).await.unwrap();
            }
        })
    };
    let line = server.running.error_line().await;
    assert!(line.contains("cannot be written; retrying"), "{line}");
    assert!(!calls.is_finished());
    server.running.allow_large_files();
    within(calls).await.unwrap();
    server.running.send(Signal::TERM);
    let ended = server.running.end().await;
    assert!(ended.stderr.contains("written again"), "{ended:?}");
    let records = audited.records();
    assert_consecutive(&records);
    assert_eq!(records.len(), 200);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_ends_with_a_full_disk_counts_what_it_loses() {
    let audited = Audited::new();
    let mut args = audited.args("drop");
    "/dev/full".clone_into(&mut args[3]);
    let server = Server::start(args).await;
    call(&client(&server)).await.unwrap();
    server.running.send(Signal::TERM);
    let ended = server.running.end().await;
    assert_eq!(ended.code, 0);
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("No space left on device"), "{lines:?}");
    assert_eq!(lines[1], "agentwire: 1 audit event lost");
}
