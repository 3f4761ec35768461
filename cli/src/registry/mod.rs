//! The command `registry` and its subcommands.

mod client_args;
mod find;
mod instance_args;
mod list;
mod lookup;
mod register;
mod serve;
mod table;
mod unregister;
mod watch;

use clap::{Args, Subcommand};

use self::{
    find::FindArgs,
    list::ListArgs,
    lookup::LookupArgs,
    register::RegisterArgs,
    serve::RegistryServeArgs,
    unregister::{DrainArgs, UnregisterArgs},
    watch::WatchArgs,
};
use crate::exit::CliError;

/// Serve or query a registry of agents
///
/// Agents register their endpoint and capabilities (see `agentwire serve --registry`). Callers look
/// up agents by name (see `agentwire call --registry`).
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP, arg_required_else_help = true)]
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
    Register(RegisterArgs),
    Unregister(UnregisterArgs),
    Drain(DrainArgs),
}

impl RegistryArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        match self.command {
            RegistryCommand::Serve(args) => args.run(),
            RegistryCommand::List(args) => args.run(),
            RegistryCommand::Lookup(args) => args.run(),
            RegistryCommand::Find(args) => args.run(),
            RegistryCommand::Watch(args) => args.run(),
            RegistryCommand::Register(args) => args.run(),
            RegistryCommand::Unregister(args) => args.run(),
            RegistryCommand::Drain(args) => args.run(),
        }
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry serve unix:///tmp/registry.sock
  agentwire serve unix:///tmp/echo.sock --registry unix:///tmp/registry.sock
  agentwire registry list unix:///tmp/registry.sock
  agentwire call --registry unix:///tmp/registry.sock --name echo --text hello";
