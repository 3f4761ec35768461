use clap::{ArgAction, Parser, Subcommand};

use crate::{
    bench::BenchArgs, call::CallArgs, completions::CompletionsArgs, exit::Failure, logging, man,
    proxy::ProxyArgs, recode::RecodeArgs, registry::RegistryArgs, serve::ServeArgs,
    stream::StreamArgs, usage,
};

/// Serves, calls, streams from and proxies agents
///
/// Agents are programs that answer messages, in Rust, Python or Go. An ENDPOINT says where one is:
/// unix:///path/to/socket or tcp://host:port.
#[derive(Debug, Parser)]
#[command(
    name = "agentwire",
    version,
    after_help = AFTER_HELP,
    // clap would show the whole help; a missing command is an error like any other.
    arg_required_else_help = false,
    max_term_width = 100
)]
pub(crate) struct Cli {
    /// Tell what happens on standard error; -vv tells more, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 900)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire serve unix:///tmp/echo.sock
  agentwire call unix:///tmp/echo.sock --text hello
  agentwire stream tcp://localhost:8080 --text 'count for me'
  agentwire proxy tcp://127.0.0.1:8080 unix:///tmp/echo.sock
  agentwire registry serve tcp://127.0.0.1:7000

Exit codes:
  0  done
  1  the remote agent answered with an error
  2  wrong usage, or a message that cannot be sent
  3  cannot connect or listen, or the connection was lost
  4  timed out
  5  the other side broke the protocol";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(ServeArgs),
    Call(CallArgs),
    Stream(StreamArgs),
    Proxy(ProxyArgs),
    Recode(RecodeArgs),
    Bench(BenchArgs),
    Registry(RegistryArgs),
    Completions(CompletionsArgs),
    /// Print the manual page
    #[command(after_help = "Examples:\n  agentwire man > agentwire.1\n  agentwire man | man -l -")]
    Man,
}

impl Cli {
    /// Reads the command line. Help and version are printed from within, and end the program.
    pub(crate) fn read() -> Result<Self, Failure> {
        Self::try_parse().map_err(|error| usage::failure(&error))
    }

    pub(crate) fn run(self) -> Result<(), Failure> {
        logging::start(self.verbose);
        match self.command {
            Command::Serve(args) => args.run(),
            Command::Call(args) => args.run(),
            Command::Stream(args) => args.run(),
            Command::Proxy(args) => args.run(),
            Command::Recode(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Registry(args) => args.run(),
            Command::Completions(args) => args.run(),
            Command::Man => man::run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        let cli = Cli::command();
        let nested = cli.get_subcommands().flat_map(|it| it.get_subcommands());
        for command in cli.get_subcommands().chain(nested) {
            let help = command.get_after_help().map(ToString::to_string);
            assert!(
                help.is_some_and(|help| help.contains("Examples:\n  agentwire ")),
                "{}",
                command.get_name()
            );
        }
    }
}
