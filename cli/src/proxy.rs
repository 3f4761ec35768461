//! The command `proxy`, which forwards calls to another endpoint.

use std::time::Duration;

use agentwire::{Endpoint, LocalAgent, RemoteAgent, RetryPolicy};
use clap::Args;

use crate::{
    codec::CodecArg,
    endpoint_args::{parse_connect_endpoint, parse_listen_endpoint},
    exit::CliError,
    serve::serve_until_stopped,
    timeout::parse_timeout,
};

/// Forward calls from one endpoint to another, for example from TCP to a Unix socket
///
/// The proxy forwards calls and streams to the target, and returns the replies and errors of the
/// target unchanged. It prints "listening on ENDPOINT" when it accepts connections, and shuts down
/// like `agentwire serve`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProxyArgs {
    /// The endpoint to listen on: unix:///path/to/socket or tcp://host:port; with port 0, the
    /// system chooses a free port
    #[arg(value_name = "LISTEN_ENDPOINT", value_parser = parse_listen_endpoint)]
    listen: Endpoint,

    /// The endpoint of the agent to forward to
    #[arg(value_name = "TARGET_ENDPOINT", value_parser = parse_connect_endpoint)]
    target: Endpoint,

    /// The name of the agent, in requests to the target and to callers of the proxy
    #[arg(long)]
    name: Option<String>,

    /// The encoding of requests to the target
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// The maximum time to wait for a reply from the target, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = parse_timeout)]
    timeout: Duration,
}

impl ProxyArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let mut remote = RemoteAgent::builder(self.target)
            // The caller decides whether to retry.
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

const AFTER_HELP: &str = "\
Examples:
  agentwire proxy tcp://127.0.0.1:8080 unix:///tmp/echo.sock
  agentwire proxy unix:///tmp/far.sock tcp://agents.example:8080 --timeout 2m";
