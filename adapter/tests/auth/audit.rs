//! The record in a file: what happens when a process is killed, and when the disk is full.

use std::{
    collections::BTreeSet,
    env, fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use agentwire::{
    Value,
    auth::{Audit, AuditEvent, AuditKind, JsonLines},
};

fn event(reason: &str) -> AuditEvent {
    AuditEvent::new(AuditKind::Authorization, true).with_reason(reason)
}

/// Returns the records of a file and of its rotated predecessors.
fn records(path: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    let directory = path.parent().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            records.push(agentwire_codec::json::from_slice(line.as_bytes()).unwrap());
        }
    }
    records
}

fn numbers(records: &[Value]) -> BTreeSet<u64> {
    records
        .iter()
        .map(|record| record.get("seq").unwrap().as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_writers_and_rotation_lose_and_double_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let audit = JsonLines::file(&path)
        .rotate(20_000, 1000)
        .capacity(16)
        .open()
        .unwrap();
    let writers = (0..4).map(|writer| {
        let audit = audit.clone();
        tokio::spawn(async move {
            for number in 0..1000 {
                audit
                    .record(event(&format!("{writer}/{number}")))
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert!(audit.flush(Duration::from_secs(20)));
    let records = records(&path);
    assert_eq!(records.len(), 4000);
    assert_eq!(numbers(&records), (1..=4000).collect());
    let reasons: BTreeSet<_> = records
        .iter()
        .map(|record| record.get("reason").unwrap().to_string())
        .collect();
    assert_eq!(reasons.len(), 4000);
    assert!(fs::read_dir(directory.path()).unwrap().count() > 10);
}

#[tokio::test]
async fn a_restart_continues_the_numbers_after_an_incomplete_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    for round in 0..3_u64 {
        let audit = JsonLines::file(&path).open().unwrap();
        for _ in 0..10 {
            audit.record(event("r")).await.unwrap();
        }
        drop(audit);
        let records = records(&path);
        assert_eq!(numbers(&records), (1..=10 * (round + 1)).collect());
        assert_eq!(
            records[0].get("event").unwrap(),
            &Value::from("authorization")
        );
        assert_eq!(records[0].get("outcome").unwrap(), &Value::from("allowed"));
        // What a killed process may leave.
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("{\"time\": \"2026-");
        fs::write(&path, text).unwrap();
    }
}

/// The variable with the path of the record of a process that is killed.
const PATH: &str = "AGENTWIRE_TEST_AUDIT";

/// Writes events until it is killed, in the process that the next test starts.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that another test kills"]
async fn a_process_that_records_until_it_is_killed() {
    let Some(path) = env::var_os(PATH) else {
        return;
    };
    let audit = JsonLines::file(path).rotate(2_000, 10_000).capacity(16);
    let audit = audit.open().unwrap();
    let writers = (0..4).map(|writer| {
        let audit = audit.clone();
        tokio::spawn(async move {
            // Lines of several lengths, so that the process is killed in various places.
            for number in 0.. {
                let reason = format!("{writer}/{number}/{}", "x".repeat(number % 150));
                audit.record(event(&reason)).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[test]
fn a_process_that_is_killed_while_it_rotates_loses_and_doubles_no_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let count = || fs::read_dir(directory.path()).unwrap().count();
    for round in 1..=8 {
        let before = count();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact"])
            .arg("audit::a_process_that_records_until_it_is_killed")
            .env(PATH, &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while count() < before + 5 {
            assert!(child.try_wait().unwrap().is_none(), "the process has ended");
            thread::sleep(Duration::from_millis(1));
        }
        // SIGKILL.
        child.kill().unwrap();
        child.wait().unwrap();
        // Only the last line may be incomplete, and it is removed when the file is opened.
        drop(JsonLines::file(&path).open().unwrap());
        let records = records(&path);
        let numbers = numbers(&records);
        assert_eq!(numbers.len(), records.len(), "round {round}: doubled");
        assert_eq!(
            numbers,
            (1..=records.len() as u64).collect(),
            "round {round}: lost"
        );
    }
}
