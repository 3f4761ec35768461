use agentwire::{Agent, Endpoint, LocalAgent};
use clap::Args;

use crate::{
    agents::{AgentKind, BuiltIn},
    exit::{Exit, Failure},
    output, runtime,
    signals::StopSignals,
    target::parse_listen_endpoint,
};

/// Serve a built-in agent, to try clients against
///
/// Prints "listening on ENDPOINT" once it accepts connections. SIGINT or SIGTERM stops it: calls
/// that are in flight are answered first, for up to 30 seconds and unless a second signal comes.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// Where to listen: unix:///path/to/socket or tcp://host:port, port 0 being any that is free
    #[arg(value_parser = parse_listen_endpoint)]
    endpoint: Endpoint,

    /// What to serve: echo, slow:MS, fail or count:N
    #[arg(long, default_value = "echo", long_help = AGENT_HELP)]
    agent: AgentKind,

    /// The name of the agent [default: echo, slow, fail or count]
    #[arg(long)]
    name: Option<String>,
}

const AGENT_HELP: &str = "\
What to serve:
  echo     answers with the content and metadata that it is sent
  slow:MS  does so after MS milliseconds
  fail     answers every call with an error
  count:N  streams N chunks, numbered from 0; other calls are echoed";

const AFTER_HELP: &str = "\
Examples:
  agentwire serve unix:///tmp/echo.sock
  agentwire serve tcp://127.0.0.1:0 --agent count:5
  agentwire serve tcp://[::1]:8080 --agent slow:250 --name sleepy";

impl ServeArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        serve_until_stopped(BuiltIn::new(self.agent, self.name), &self.endpoint)
    }
}

/// Serves until a signal comes, then answers what is in flight, or drops it at a second signal.
pub(crate) fn serve_until_stopped(agent: impl Agent, endpoint: &Endpoint) -> Result<(), Failure> {
    runtime::run_server(async {
        // Before the first word on standard output: whoever reads it may send a signal at once.
        let mut signals = StopSignals::listen().map_err(|error| {
            Failure::from_error(Exit::Unreachable, &error).while_doing("cannot wait for signals")
        })?;
        let local = tokio::select! {
            served = LocalAgent::serve(agent, endpoint.clone()) => served?,
            () = signals.next() => return Ok(()),
        };
        tracing::info!(endpoint = %local.endpoint(), agent = local.name(), "listening");
        output::print_line(format_args!("listening on {}", local.endpoint()))?;

        signals.next().await;
        tracing::info!("stopping once all calls in flight are answered");
        tokio::select! {
            () = local.stop() => {}
            () = signals.next() => {
                tracing::info!("dropping the calls in flight");
                local.abort().await;
            }
        }
        tracing::info!("stopped");
        Ok(())
    })
}
