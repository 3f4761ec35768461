//! The command `registry list`.

use agentwire::registry::Registry;
use clap::Args;

use super::{client_args::ClientArgs, table::Width};
use crate::{exit::CliError, runtime};

/// List all registered agents
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// Show the instance ids, capabilities and metadata, too
    #[arg(long, conflicts_with = "json")]
    wide: bool,
}

impl ListArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let registry = self.client.open()?;
        let registrations = runtime::run_client(async { Ok(registry.list().await?) })?;
        let width = if self.wide {
            Width::Wide
        } else {
            Width::Narrow
        };
        self.client.print(&registrations, width)
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry list unix:///tmp/registry.sock
  agentwire registry list tcp://localhost:7000 --wide
  agentwire registry list tcp://localhost:7000 --json | jq -r .endpoint";
