use agentwire::registry::Registry;
use clap::Args;

use super::ask_args::AskArgs;
use crate::{
    exit::{Exit, Failure},
    runtime,
};

/// Print all instances of one agent
///
/// It is an error if there is none, with the exit code 3.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LookupArgs {
    #[command(flatten)]
    ask: AskArgs,

    /// The name of the agent
    name: String,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry lookup unix:///tmp/registry.sock weather
  agentwire registry lookup tcp://localhost:7000 weather --json | jq .capabilities";

impl LookupArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let registry = self.ask.open()?;
        let found = runtime::run_client(async { Ok(registry.lookup(&self.name).await?) })?;
        if found.is_empty() {
            let text = format!("no agent of the name {:?} is registered", self.name);
            return Err(Failure::new(Exit::Unreachable, text));
        }
        self.ask.print(&found)
    }
}
