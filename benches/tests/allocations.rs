//! Counts the allocations of a lone call, client and server together, and names each of them.
//!
//! `cargo test --release -p agentwire-benches --test allocations -- --nocapture` prints the list.
//! The allocator counts for the whole process, so this is a single test.

#![allow(clippy::unwrap_used, reason = "an unexpected result fails the test")]

use std::{collections::BTreeMap, fs, path::Path};

use agentwire::{Format, LocalAgent, Message, RemoteAgent, agent_fn};
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const CALLS: usize = 200;

/// A way to call, and how much one call may allocate. Growing a block counts as an allocation.
struct Case {
    name: &'static str,
    format: Format,
    in_flight: usize,
    limit: f64,
}

const CASES: [Case; 4] = [
    Case {
        name: "a connection of its own, JSON",
        format: Format::Json,
        in_flight: 1,
        limit: 7.1,
    },
    Case {
        name: "a connection of its own, MessagePack",
        format: Format::MessagePack,
        in_flight: 1,
        limit: 7.1,
    },
    Case {
        name: "a shared connection, JSON",
        format: Format::Json,
        in_flight: 64,
        limit: 7.1,
    },
    Case {
        name: "a shared connection, MessagePack",
        format: Format::MessagePack,
        in_flight: 64,
        limit: 7.1,
    },
];

#[test]
fn a_lone_call_stays_within_its_limit_of_allocations() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut over = Vec::new();
    for case in CASES {
        let (per_call, sites) = runtime.block_on(count(&case));
        println!("{}: {per_call:.2} allocations per call", case.name);
        for (site, blocks) in sites {
            println!("  {blocks:5.2}  {site}");
        }
        if per_call > case.limit {
            over.push(format!(
                "{}: {per_call:.2}, limit {}",
                case.name, case.limit
            ));
        }
    }
    assert!(over.is_empty(), "{over:?}");
}

/// Returns the allocations per call, and where they happen.
async fn count(case: &Case) -> (f64, Vec<(String, f64)>) {
    let echo = agent_fn("echo", |message: Message| async move {
        Ok(Message::agent(message.content))
    });
    let server = LocalAgent::serve(echo, "memory://allocations")
        .await
        .unwrap();
    let remote = RemoteAgent::builder(server.endpoint())
        .name("echo")
        .format(case.format)
        .max_connections(1)
        .max_in_flight_per_connection(case.in_flight)
        .build()
        .unwrap();
    call(&remote, messages()).await;

    // Created before counting starts, since they are not part of the call.
    let messages = messages();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("heap.json");
    let profiler = dhat::Profiler::builder()
        .file_name(&file)
        .trim_backtraces(Some(40))
        .build();
    call(&remote, messages).await;
    let blocks = dhat::HeapStats::get().total_blocks;
    // Writes the file.
    drop(profiler);

    remote.close().await;
    server.stop().await;
    (blocks as f64 / CALLS as f64, sites(&file))
}

fn messages() -> Vec<Message> {
    (0..CALLS).map(|_| Message::user("x".repeat(64))).collect()
}

async fn call(remote: &RemoteAgent, messages: Vec<Message>) {
    for message in messages {
        let reply = remote.process(message).await.unwrap();
        assert_eq!(reply.text().map(str::len), Some(64));
    }
}

/// The part of dhat's file that locates allocations.
#[derive(Deserialize)]
struct Profile {
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

#[derive(Deserialize)]
struct Point {
    /// Total blocks.
    tbk: u64,
    /// Stack frames, innermost first.
    fs: Vec<usize>,
}

/// Returns the allocations per call by location, most first, without those that happen less than
/// once in ten calls.
fn sites(file: &Path) -> Vec<(String, f64)> {
    let profile: Profile = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let files = library_files();
    let mut sites: BTreeMap<String, u64> = BTreeMap::new();
    for point in &profile.pps {
        let frames = point.fs.iter().map(|&frame| profile.ftbl[frame].as_str());
        *sites.entry(place(frames, &files)).or_default() += point.tbk;
    }
    let mut sites: Vec<_> = sites
        .into_iter()
        .map(|(site, blocks)| (site, blocks as f64 / CALLS as f64))
        .filter(|(_, blocks)| *blocks >= 0.1)
        .collect();
    sites.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    sites
}

/// Returns the innermost frames within this workspace, callee first.
fn place<'a>(frames: impl Iterator<Item = &'a str>, files: &[String]) -> String {
    // `0x1234: name<of, types> (some/path.rs:12:34)`, where the path is only its last parts.
    let ours = frames.filter_map(|frame| {
        let (name, path) = frame.rsplit_once(" (")?;
        let (path, _column) = path.rsplit_once(':')?;
        let (file, line) = path.rsplit_once(':')?;
        let file = files.iter().find(|known| known.ends_with(file))?;
        let name = name.split_once(": ").map_or(name, |(_address, name)| name);
        let name = name.split('<').next().unwrap_or(name);
        Some(format!("{name} {file}:{line}"))
    });
    ours.take(3).collect::<Vec<_>>().join(" < ")
}

/// Returns the library's source files, as paths in the workspace.
fn library_files() -> Vec<String> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<_> = ["adapter", "codec", "transport"]
        .map(|package| workspace.join(package).join("src"))
        .into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(workspace).unwrap();
                files.push(path.display().to_string());
            }
        }
    }
    files
}
