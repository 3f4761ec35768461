//! The command `execute`, which runs a tool or lists the tools of a server.

use agentwire::{Map, Value};
use agentwire_codec::ErrorCode;
use clap::Args;

use crate::{
    describe,
    exit::{CliError, Exit, with_code},
    message_args::{Json, parse_content},
    output,
    reply_args::ReplyArgs,
    runtime,
    target_args::TargetArgs,
    wait_args::WaitArgs,
};

/// Run a tool of a server and print its result
///
/// The result is printed to standard output as JSON. If the tool fails, its error is printed to
/// standard error, and the exit code is 1.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ExecuteArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// The tool to run
    tool: Option<String>,

    /// The arguments of the tool, as a JSON object; - reads JSON from standard input and @FILE from
    /// a file
    #[arg(long, value_name = "JSON", value_parser = parse_content, allow_hyphen_values = true)]
    args: Option<Json>,

    /// List the tools of the server instead of running one; servers in Python and Go cannot list
    /// their tools
    #[arg(long, conflicts_with = "args")]
    list: bool,

    #[command(flatten)]
    reply: ReplyArgs,

    #[command(flatten)]
    wait: WaitArgs,
}

impl ExecuteArgs {
    pub(crate) fn run(mut self) -> Result<(), CliError> {
        if self.list {
            return self.list();
        }
        let target = self.target.resolve(&mut self.tool)?;
        let Some(tool) = self.tool else {
            let problem = "no tool to run: give TOOL, or --list to list the tools";
            return Err(CliError::new(Exit::Usage, problem));
        };
        let args = match self.args {
            None => Map::new(),
            Some(args) => match args.read("--args")? {
                Value::Map(args) => args,
                other => {
                    let problem = format!("--args: expected a JSON object, found {}", other.kind());
                    return Err(CliError::new(Exit::Usage, problem));
                }
            },
        };
        let remote = target.client()?;
        runtime::run_client(async {
            let execution = self
                .wait
                .until_present(async || remote.execute(&tool, args.clone()).await);
            let result = execution.await?;
            if result.success {
                return self.reply.print_content(result.data);
            }
            let reason = result.error.unwrap_or_default();
            let text = format!("tool {tool:?} failed: {reason}");
            let text = with_code(text, &ErrorCode::TOOL_EXECUTION_FAILED);
            Err(CliError::new(Exit::Remote, text))
        })
    }

    fn list(self) -> Result<(), CliError> {
        if self.tool.is_some() {
            let problem = "--list cannot be used with TOOL";
            return Err(CliError::new(Exit::Usage, problem));
        }
        let remote = self.target.resolve_alone()?.client()?;
        let tools = runtime::run_client(async {
            let description = self.wait.until_present(async || remote.describe().await);
            let description = description.await.map_err(describe::undescribed)?;
            Ok(description.tools)
        })?;
        if self.reply.is_for_people() {
            output::print(describe::text::tools(&tools).as_bytes())
        } else {
            let lines = tools.into_iter().map(describe::tool_map);
            let lines: String = lines.map(|tool| output::json(tool) + "\n").collect();
            output::print(lines.as_bytes())
        }
    }
}

const AFTER_HELP: &str = r#"Examples:
  agentwire execute unix:///tmp/tools.sock --list
  agentwire execute unix:///tmp/tools.sock add --args '{"a": 1, "b": 2}'
  agentwire execute --registry tcp://localhost:7000 --name weather forecast --args @query.json
  jq .query question.json | agentwire execute tcp://localhost:8080 search --args - --raw"#;
