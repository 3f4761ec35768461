//! The command `stream`, which sends one message and prints a stream of chunks.

use agentwire::{
    Message,
    progress::{Progress, ProgressState},
};
use clap::Args;

use crate::{
    exit::CliError,
    message_args::{MessageArgs, Prepared},
    progress_bar::ProgressBar,
    reply_args::ReplyArgs,
    runtime,
};

/// Send one message to an agent and stream its reply
///
/// Each chunk is printed to standard output as soon as it arrives, in the form in which `agentwire
/// call` prints a reply. Therefore, if the stream fails, all chunks received before the failure
/// have been printed.
///
/// Chunks that only say where a long task is are shown as a progress bar, if standard error is a
/// terminal. They are printed like all others unless standard output is a terminal, too.
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
            let mut bar = ProgressBar::new();
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(chunk) => print(self.reply, chunk, &mut bar)?,
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

/// Prints a chunk, or shows it as a progress bar.
fn print(reply: ReplyArgs, chunk: Message, bar: &mut ProgressBar) -> Result<(), CliError> {
    let progress = Progress::of(&chunk);
    let is_shown = progress
        .as_ref()
        .is_some_and(|progress| match progress.state() {
            ProgressState::Started | ProgressState::Processing => true,
            ProgressState::Complete => chunk.text() == Some(""),
            // The reason why there is no result.
            _ => false,
        });
    if !(is_shown && bar.is_terminal() && reply.is_for_people()) {
        bar.clear();
        reply.print(chunk)?;
    }
    match progress {
        Some(progress) if is_shown && !progress.is_complete() => bar.show(&progress),
        _ => bar.clear(),
    }
    Ok(())
}

const AFTER_HELP: &str = r#"Examples:
  agentwire stream unix:///tmp/count.sock tick
  agentwire stream tcp://localhost:8080 --raw hi
  agentwire stream tcp://localhost:8080 hi | jq --unbuffered -r .content
  agentwire stream --registry tcp://localhost:7000 --name weather 'Oslo?'
  agentwire stream tcp://localhost:8080 hi | head -n 3"#;
