use std::time::Duration;

use agentwire::{Endpoint, LocalAgent, RemoteAgent, RetryPolicy};
use clap::Args;

use crate::{
    codec::CodecArg,
    exit::Failure,
    serve::serve_until_stopped,
    target::{parse_listen_endpoint, parse_target_endpoint},
    timeout::parse_timeout,
};

/// Serve an agent that is elsewhere, over another transport for example
///
/// Calls and streams go to the target, and its answers and errors come back unchanged. Prints
/// "listening on ENDPOINT" and stops as `serve` does.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProxyArgs {
    /// Where to listen: unix:///path/to/socket or tcp://host:port, port 0 being any that is free
    #[arg(value_name = "LISTEN_ENDPOINT", value_parser = parse_listen_endpoint)]
    listen: Endpoint,

    /// Where the agent is
    #[arg(value_name = "TARGET_ENDPOINT", value_parser = parse_target_endpoint)]
    target: Endpoint,

    /// The name of the agent, to the target and to those who ask here
    #[arg(long)]
    name: Option<String>,

    /// How to write to the target
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// How long to wait for an answer of the target, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = parse_timeout)]
    timeout: Duration,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire proxy tcp://127.0.0.1:8080 unix:///tmp/echo.sock
  agentwire proxy unix:///tmp/far.sock tcp://agents.example:8080 --timeout 2m";

impl ProxyArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut remote = RemoteAgent::builder(self.target)
            // What is tried again is up to the caller.
            .retry(RetryPolicy::never())
            .format(self.codec.into())
            .timeout(self.timeout);
        if let Some(name) = self.name {
            remote = remote.name(name);
        }
        let remote = remote.build()?;
        serve_until_stopped(LocalAgent::builder(remote), &self.listen)
    }
}
