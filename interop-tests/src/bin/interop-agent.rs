//! Serves the interop agent as `serve.py` does: `interop-agent ENDPOINT`; or, with `interop-agent ENDPOINT FILE`, one
//! that notes in a file what it does. It prints `READY ENDPOINT`, and stops at the end of its standard input.

use std::io::Write;

use agentwire_interop_tests::{AgentKind, Witness};
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let server = match &arguments[..] {
        [endpoint] => AgentKind::Interop.serve(endpoint).await?,
        [endpoint, notes] => Witness::serve(endpoint, notes.as_ref()).await?,
        _ => return Err("usage: interop-agent ENDPOINT [FILE]".into()),
    };
    writeln!(std::io::stdout(), "READY {}", server.endpoint())?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    server.stop().await;
    Ok(())
}
