//! The command `stream`, which sends one message and prints a stream of chunks.

use clap::Args;

use crate::{
    exit::CliError,
    message_args::{MessageArgs, Prepared},
    reply_args::ReplyArgs,
    runtime,
};

/// Send one message to an agent and stream its reply
///
/// Each chunk is printed to standard output as soon as it arrives, in the form in which `agentwire
/// call` prints a reply. Therefore, if the stream fails, all chunks received before the failure
/// have been printed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct StreamArgs {
    #[command(flatten)]
    message: MessageArgs,

    #[command(flatten)]
    reply: ReplyArgs,
}

impl StreamArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let Prepared {
            remote,
            message,
            wait,
        } = self.message.prepare()?;
        runtime::run_follower(async {
            let mut waiting = wait.start();
            let mut chunks = remote.stream(message.clone());
            let mut has_started = false;
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(chunk) => self.reply.print(chunk)?,
                    Err(error) if !has_started && waiting.may_retry(&error).await => {
                        chunks = remote.stream(message.clone());
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
                has_started = true;
            }
            Ok(())
        })
    }
}

const AFTER_HELP: &str = r#"Examples:
  agentwire stream unix:///tmp/count.sock tick
  agentwire stream tcp://localhost:8080 --raw hi
  agentwire stream tcp://localhost:8080 hi | jq --unbuffered -r .content
  agentwire stream --registry tcp://localhost:7000 --name weather 'Oslo?'
  agentwire stream tcp://localhost:8080 hi | head -n 3"#;
