//! The command `call`, which sends one message and prints the reply.

use std::time::Instant;

use clap::Args;

use crate::{exit::CliError, message_args::MessageArgs, output, runtime};

/// Send one message to an agent and print its reply
///
/// The reply is printed to standard output as one line of JSON with the keys role, content,
/// metadata and timestamp. Bytes are printed as text in base64, and NaN and infinities as the texts
/// NaN, Infinity and -Infinity, because JSON has neither.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    message: MessageArgs,
}

impl CallArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let (remote, message) = self.message.prepare()?;
        runtime::run_client(async {
            tracing::info!(
                endpoint = remote.endpoint().map(tracing::field::display),
                "calling"
            );
            let start = Instant::now();
            let reply = remote.process(message).await?;
            tracing::info!(elapsed = ?start.elapsed(), "reply received");
            output::print_json(output::message_value(reply))
        })
    }
}

const AFTER_HELP: &str = r#"Examples:
  agentwire call unix:///tmp/echo.sock --text hello
  agentwire call tcp://localhost:8080 --content '{"city": "Oslo"}' --timeout 5s
  agentwire call --registry tcp://localhost:7000 --name weather --text 'Oslo?'
  agentwire call tcp://localhost:8080 --text hi --metadata '{"trace": 7}'
  jq .question quiz.json | agentwire call unix:///tmp/echo.sock --content -"#;
