//! The program `interop-agent ENDPOINT`, which serves the interop agent like `serve.py`.
//!
//! `interop-agent ENDPOINT FILE` serves an agent that records its calls in a file. The program
//! prints `READY ENDPOINT` when it accepts connections, and stops when its standard input is
//! closed.

use std::io::Write;

use agentwire_interop_tests::{AgentKind, RecordingAgent};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let server = match &arguments[..] {
        [endpoint] => AgentKind::Interop.serve(endpoint).await?,
        [endpoint, log] => RecordingAgent::serve(endpoint, log.as_ref()).await?,
        _ => return Err("usage: interop-agent ENDPOINT [FILE]".into()),
    };
    writeln!(std::io::stdout(), "READY {}", server.endpoint())?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    server.stop().await;
    Ok(())
}
