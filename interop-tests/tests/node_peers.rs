//! Rust calls and is called by the package ws of npm, which sends text, fragments, and pings between
//! fragments.

use std::{path::Path, process::Stdio};

use agentwire::{Message, RemoteAgent};
use agentwire_interop_tests::{AgentKind, TestFailure, TestResult, expect, within};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

/// Returns the command that runs `node/ws.cjs`.
fn script(arguments: &[&str]) -> Command {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = std::env::var_os("AGENTWIRE_NODE_MODULES")
        .unwrap_or_else(|| package.join("../target/node/node_modules").into());
    let mut command = Command::new("node");
    command
        .arg(package.join("node/ws.cjs"))
        .args(arguments)
        .env("NODE_PATH", modules)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

#[tokio::test]
async fn rust_calls_a_server_in_node() -> TestResult {
    within(async {
        let mut server = script(&["serve"]).spawn()?;
        let stdout = server.stdout.take();
        let stdout = stdout.ok_or_else(|| TestFailure::new("no pipe"))?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        let line = line.unwrap_or_default();
        let endpoint = line
            .strip_prefix("READY ")
            .ok_or_else(|| TestFailure::new(format!("{line:?} is not the line READY")))?;
        for in_flight in [1, 8] {
            let remote = RemoteAgent::builder(endpoint)
                .max_in_flight_per_connection(in_flight)
                .build()?;
            for content in ["hello", "żółw 🐢", "", &"x".repeat(1 << 20)] {
                let reply = remote.process(Message::user(content)).await?;
                expect("the answer", &reply.text(), &Some(content))?;
            }
            let mut chunks = remote.stream(Message::user("part"));
            let mut count = 0;
            while let Some(chunk) = chunks.next().await {
                expect("a chunk", &chunk?.text(), &Some("part"))?;
                count += 1;
            }
            expect("the chunks", &count, &3)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn node_calls_an_agent_in_rust() -> TestResult {
    within(async {
        let server = AgentKind::Interop.serve("ws://127.0.0.1:0/any").await?;
        let endpoint = server.endpoint().to_string();
        let output = script(&["call", &endpoint]).output().await?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        expect("the output", &*stdout, "binary from node ż\nclosed 1000\n")?;
        server.stop().await;
        Ok(())
    })
    .await
}
