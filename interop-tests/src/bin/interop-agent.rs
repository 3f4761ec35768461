//! Serves the interop agent as `serve.py` does: `interop-agent ENDPOINT`. It prints `READY ENDPOINT`, and
//! stops at the end of its standard input.

use std::io::Write;

use agentwire_interop_tests::AgentKind;
use tokio::io::AsyncReadExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = std::env::args()
        .nth(1)
        .ok_or("usage: interop-agent ENDPOINT")?;
    let server = AgentKind::Interop.serve(&endpoint).await?;
    writeln!(std::io::stdout(), "READY {}", server.endpoint())?;
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    server.stop().await;
    Ok(())
}
