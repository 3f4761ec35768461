//! The command `registry` and its subcommands.

mod client_args;
mod find;
mod list;
mod lookup;
mod serve;
mod table;
mod watch;

use clap::{Args, Subcommand};

use self::{
    find::FindArgs, list::ListArgs, lookup::LookupArgs, serve::RegistryServeArgs, watch::WatchArgs,
};
use crate::exit::CliError;

/// Serve or query a registry of agents
///
/// Agents register their endpoint and capabilities (see `agentwire serve --registry`). Callers look
/// up agents by name (see `agentwire call --registry`).
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = false)]
pub(crate) struct RegistryArgs {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    Serve(RegistryServeArgs),
    List(ListArgs),
    Lookup(LookupArgs),
    Find(FindArgs),
    Watch(WatchArgs),
}

impl RegistryArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        match self.command {
            RegistryCommand::Serve(args) => args.run(),
            RegistryCommand::List(args) => args.run(),
            RegistryCommand::Lookup(args) => args.run(),
            RegistryCommand::Find(args) => args.run(),
            RegistryCommand::Watch(args) => args.run(),
        }
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry serve unix:///tmp/registry.sock
  agentwire serve unix:///tmp/echo.sock --registry unix:///tmp/registry.sock
  agentwire registry list unix:///tmp/registry.sock
  agentwire call --registry unix:///tmp/registry.sock --name echo --text hello";
