//! The command `call`, which sends one message and prints the reply.

use clap::Args;

use crate::{
    exit::CliError,
    message_args::{MessageArgs, Prepared},
    reply_args::ReplyArgs,
    runtime,
};

/// Send one message to an agent and print its reply
///
/// The reply is printed to standard output as JSON with the keys role, content, metadata and
/// timestamp: as one line, or indented on a terminal. Bytes are printed as text in base64, and NaN
/// and infinities as the texts NaN, Infinity and -Infinity, because JSON has neither.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    message: MessageArgs,

    #[command(flatten)]
    reply: ReplyArgs,
}

impl CallArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let Prepared {
            remote,
            message,
            wait,
        } = self.message.prepare()?;
        runtime::run_client(async {
            let reply = wait.until_present(async || remote.process(message.clone()).await);
            self.reply.print(reply.await?)
        })
    }
}

const AFTER_HELP: &str = r#"Examples:
  agentwire call unix:///tmp/echo.sock hello
  agentwire call unix:///tmp/echo.sock --wait 10s --raw hello
  agentwire call tcp://localhost:8080 --content '{"city": "Oslo"}' --timeout 5s
  agentwire call --registry tcp://localhost:7000 --name weather 'Oslo?'
  agentwire call tcp://localhost:8080 --header tenant=blue --text @question.txt
  jq .question quiz.json | agentwire call unix:///tmp/echo.sock --content -"#;
