//! The command `registry lookup`.

use agentwire::registry::Registry;
use clap::Args;

use super::{client_args::ClientArgs, table::Width};
use crate::{
    exit::{CliError, Exit},
    runtime,
};

/// List all instances of one agent
///
/// If no instance is registered, the exit code is 3.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct LookupArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// The name of the agent
    name: String,
}

impl LookupArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let registry = self.client.open()?;
        let instances = runtime::run_client(async { Ok(registry.lookup(&self.name).await?) })?;
        if instances.is_empty() {
            let text = format!("no agent named {:?} is registered", self.name);
            return Err(CliError::new(Exit::Unreachable, text));
        }
        self.client.print(&instances, Width::Narrow)
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry lookup unix:///tmp/registry.sock weather
  agentwire registry lookup tcp://localhost:7000 weather --json | jq .capabilities";
