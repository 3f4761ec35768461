//! The command `stream`, which sends one message and prints a stream of chunks.

use std::time::Instant;

use clap::Args;

use crate::{exit::CliError, message_args::MessageArgs, output, runtime};

/// Send one message to an agent and stream its reply
///
/// Each chunk is printed to standard output as one line of JSON as soon as it arrives, in the form
/// in which `agentwire call` prints a reply. Therefore, if the stream fails, all chunks received
/// before the failure have been printed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    message: MessageArgs,
}

impl StreamArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let (remote, message) = self.message.prepare()?;
        runtime::run_client(async {
            tracing::info!(
                endpoint = remote.endpoint().map(tracing::field::display),
                "calling"
            );
            let start = Instant::now();
            let mut chunks = remote.stream(message);
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk?;
                tracing::debug!(elapsed = ?start.elapsed(), "chunk received");
                output::print_json(output::message_value(chunk))?;
            }
            tracing::info!(elapsed = ?start.elapsed(), "stream ended");
            Ok(())
        })
    }
}

const AFTER_HELP: &str = r#"Examples:
  agentwire stream unix:///tmp/count.sock --text tick
  agentwire stream tcp://localhost:8080 --text hi | jq --unbuffered -r .content
  agentwire stream --registry tcp://localhost:7000 --name weather --text 'Oslo?'
  agentwire stream tcp://localhost:8080 --text hi | head -n 3"#;
