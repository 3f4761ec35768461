//! The program `interop-agent ENDPOINT`, which serves the interop agent like `serve.py`.
//!
//! `interop-agent ENDPOINT FILE` serves an agent that records its calls in a file. The program
//! prints `READY ENDPOINT` when it accepts connections, and stops when its standard input is
//! closed. To a line `report` on standard input, it answers with the line `HOLDS DESCRIPTORS TASKS
//! BYTES`: what the process holds at that moment.

use std::io::Write;

use agentwire_interop_tests::{AgentKind, Holdings, RecordingAgent};
use peak_alloc::PeakAlloc;
use tokio::io::{AsyncBufReadExt, BufReader};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let server = match &arguments[..] {
        [endpoint] => AgentKind::Interop.serve(endpoint).await?,
        [endpoint, log] => RecordingAgent::serve(endpoint, log.as_ref()).await?,
        _ => return Err("usage: interop-agent ENDPOINT [FILE]".into()),
    };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "READY {}", server.endpoint())?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "report" {
            let Holdings {
                open_files,
                tasks,
                bytes,
            } = Holdings::of_this_process(ALLOCATOR.current_usage());
            writeln!(stdout, "HOLDS {open_files} {tasks} {bytes}")?;
        }
    }
    server.stop().await;
    Ok(())
}
