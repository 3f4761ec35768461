//! The command `registry list`.

use agentwire::registry::Registry;
use clap::Args;

use super::client_args::ClientArgs;
use crate::{exit::CliError, runtime};

/// List all registered agents
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}

impl ListArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let registry = self.client.open()?;
        let registrations = runtime::run_client(async { Ok(registry.list().await?) })?;
        self.client.print(&registrations)
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry list unix:///tmp/registry.sock
  agentwire registry list tcp://localhost:7000 --json | jq -r .endpoint";
