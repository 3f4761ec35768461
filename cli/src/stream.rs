use std::time::Instant;

use clap::Args;

use crate::{exit::Failure, message_args::MessageArgs, output, runtime};

/// Send one message to an agent and print its answer as it comes
///
/// Every chunk is one line of JSON on standard output, written at once. If the stream fails, the
/// chunks that came before are there.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    message: MessageArgs,
}

const AFTER_HELP: &str = r#"Examples:
  agentwire stream unix:///tmp/count.sock --text tick
  agentwire stream tcp://localhost:8080 --text hi | jq --unbuffered -r .content
  agentwire stream --registry tcp://localhost:7000 --name weather --text 'Oslo?'
  agentwire stream tcp://localhost:8080 --text hi | head -n 3"#;

impl StreamArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (remote, message) = self.message.prepare()?;
        runtime::run_client(async {
            tracing::info!(endpoint = %remote.endpoint(), "calling");
            let start = Instant::now();
            let mut chunks = remote.stream(message);
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                tracing::debug!(elapsed = ?start.elapsed(), "chunk");
                output::print_line(chunk)?;
            }
            tracing::info!(elapsed = ?start.elapsed(), "end of the stream");
            Ok(())
        })
    }
}
