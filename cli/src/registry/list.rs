use agentwire::registry::Registry;
use clap::Args;

use super::ask_args::AskArgs;
use crate::{exit::Failure, runtime};

/// Print everything that is registered
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    ask: AskArgs,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry list unix:///tmp/registry.sock
  agentwire registry list tcp://localhost:7000 --json | jq -r .endpoint";

impl ListArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let registry = self.ask.open()?;
        let listed = runtime::run_client(async { Ok(registry.list().await?) })?;
        self.ask.print(&listed)
    }
}
