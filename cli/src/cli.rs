//! The command line: the global options and the commands.

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    bench::BenchArgs, call::CallArgs, completions::CompletionsArgs, describe::DescribeArgs,
    execute::ExecuteArgs, exit::CliError, logging::LogArgs, man, otlp::OtlpArgs, ping::PingArgs,
    proxy::ProxyArgs, recode::RecodeArgs, registry::RegistryArgs, serve::ServeArgs,
    stream::StreamArgs, token, top::TopArgs, usage,
};

/// Serve, call, stream from and proxy agents
///
/// An agent is a program that replies to messages. Agents can be written in Rust, Python or Go. An
/// ENDPOINT is the address of an agent: unix:///path/to/socket, tcp://host:port, tls://host:port,
/// ws://host:port/path, http://host:port or grpc://host:port. The schemes wss, https, grpcs and h2c
/// (HTTP/2 without TLS) work as well.
#[derive(Debug, Parser)]
#[command(
    name = "agentwire",
    version,
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    log: LogArgs,

    #[command(flatten)]
    otlp: OtlpArgs,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(ServeArgs),
    Call(CallArgs),
    Stream(StreamArgs),
    Execute(ExecuteArgs),
    Ping(PingArgs),
    Describe(DescribeArgs),
    Proxy(ProxyArgs),
    Recode(RecodeArgs),
    Bench(BenchArgs),
    Top(TopArgs),
    Registry(RegistryArgs),
    /// Print a new random token, and its token_sha256 for the file of --auth
    #[command(after_help = "Examples:\n  agentwire token")]
    Token,
    Completions(CompletionsArgs),
    /// Print the manual page
    #[command(after_help = "Examples:\n  agentwire man > agentwire.1\n  agentwire man | man -l -")]
    Man,
}

impl Cli {
    /// Parses the command line. If the command line requests the help or the version, prints it.
    pub(crate) fn read() -> Result<Self, CliError> {
        Self::try_parse().map_err(|error| usage::to_cli_error(&error))
    }

    pub(crate) fn run(self) -> Result<(), CliError> {
        self.log.start(&self.otlp)?;
        match self.command {
            Command::Serve(args) => args.run(),
            Command::Call(args) => args.run(),
            Command::Stream(args) => args.run(),
            Command::Execute(args) => args.run(),
            Command::Ping(args) => args.run(),
            Command::Describe(args) => args.run(),
            Command::Proxy(args) => args.run(),
            Command::Recode(args) => args.run(),
            Command::Bench(args) => args.run(),
            Command::Top(args) => args.run(),
            Command::Registry(args) => args.run(),
            Command::Token => token::run(),
            Command::Completions(args) => args.run(Self::command()),
            Command::Man => man::run(Self::command()),
        }
    }
}

const AFTER_HELP: &str = r#"Examples:
  agentwire serve unix:///tmp/echo.sock
  agentwire call unix:///tmp/echo.sock --wait 10s hello
  agentwire stream tcp://localhost:8080 'count for me'
  agentwire execute tcp://localhost:8080 add --args '{"a": 1, "b": 2}'
  agentwire ping tcp://localhost:8080 -c 1
  agentwire proxy tcp://127.0.0.1:8080 unix:///tmp/echo.sock
  agentwire registry serve tcp://127.0.0.1:7000

Exit codes:
  0  success
  1  the agent or the registry answered with an error
  2  invalid usage, or the message cannot be encoded
  3  cannot connect or listen, or the connection was lost
  4  timed out
  5  the peer violated the protocol"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_argument_is_below_the_heading_that_it_belongs_to() {
        let cli = Cli::command();
        let nested = cli.get_subcommands().flat_map(|it| it.get_subcommands());
        for command in cli.get_subcommands().chain(nested) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let is_tls = argument.get_help_heading() == Some("TLS");
                assert_eq!(
                    is_tls,
                    id.starts_with("tls_"),
                    "{} {id}",
                    command.get_name()
                );
                if argument.is_positional() {
                    assert_eq!(argument.get_help_heading(), None, "{}", command.get_name());
                }
            }
        }
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
