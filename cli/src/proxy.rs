//! The command `proxy`, which forwards requests to another endpoint.

use std::{num::NonZeroUsize, time::Duration};

use agentwire::{Endpoint, FrameLimits, Proxy, RemoteAgent};
use clap::Args;

use crate::{
    auth_args::TokenArgs,
    codec::CodecArg,
    endpoint_args::{parse_connect_endpoint, parse_listen_endpoint},
    exit::CliError,
    frame_limit::parse_frame_limit,
    output, runtime,
    server_args::ServerArgs,
    signals::StopSignals,
    timeout::parse_timeout,
    tls_args::TlsClientArgs,
};

/// Forward requests from one endpoint to another, for example from TCP to a Unix socket
///
/// The proxy forwards every request to the target, and returns the answers and errors of the target
/// unchanged. The target may serve any number of agents and tools, or be a registry. The proxy
/// prints "listening on ENDPOINT" when it accepts connections, and shuts down like `agentwire
/// serve`.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ProxyArgs {
    /// The endpoint to listen on: unix:///path/to/socket or tcp://host:port; port 0 picks a free
    /// port
    #[arg(value_name = "LISTEN_ENDPOINT", value_parser = parse_listen_endpoint)]
    listen: Endpoint,

    /// The endpoint of the server to forward to
    #[arg(value_name = "TARGET_ENDPOINT", value_parser = parse_connect_endpoint)]
    target: Endpoint,

    /// The name of the agent in calls that name no agent
    #[arg(long)]
    name: Option<String>,

    /// The encoding of requests to the target
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// The maximum time to wait for a reply from the target, or for each chunk, such as 500ms or
    /// 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = parse_timeout)]
    timeout: Duration,

    /// The number of connections to the target for calls, and the same number for streams; further
    /// calls wait, within --timeout
    #[arg(long, value_name = "N", default_value = "64")]
    pool: NonZeroUsize,

    /// The number of calls that share a connection to the target; more than 1 only for servers that
    /// answer in any order, such as `agentwire serve`
    #[arg(long, value_name = "N", default_value = "1")]
    share: NonZeroUsize,

    /// The maximum size of a frame from or to a caller or the target, such as 16MiB
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = parse_frame_limit)]
    frame_limit: FrameLimits,

    /// The maximum number of open connections of callers; raise the limit on open files (ulimit
    /// -n) to match
    #[arg(long, value_name = "N", default_value = "1024")]
    max_connections: usize,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    token: TokenArgs,

    /// For the target.
    #[command(flatten)]
    tls: TlsClientArgs,
}

impl ProxyArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let mut target = RemoteAgent::builder(self.target)
            .format(self.codec.into())
            .timeout(self.timeout)
            .max_connections(self.pool.get())
            .max_in_flight_per_connection(self.share.get())
            .frame_limits(self.frame_limit)
            .tls(self.tls.client()?);
        target = self.token.apply(target)?;
        if let Some(name) = self.name {
            target = target.name(name);
        }
        let proxy = Proxy::builder(target)
            .max_connections(self.max_connections)
            .frame_limits(self.frame_limit);
        let proxy = self
            .server
            .apply(proxy, std::slice::from_ref(&self.listen))?;
        runtime::run_server(async {
            let mut signals = StopSignals::start()?;
            let proxy = tokio::select! {
                served = proxy.endpoint(self.listen).serve() => served?,
                () = signals.next() => return Ok(()),
            };
            tracing::info!(endpoint = %proxy.endpoint(), "listening");
            output::announce(format_args!("listening on {}", proxy.endpoint()));
            signals.next().await;
            signals.stop(proxy.stop(), proxy.abort()).await;
            Ok(())
        })
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire proxy tcp://127.0.0.1:8080 unix:///tmp/echo.sock
  agentwire proxy unix:///tmp/far.sock tcp://agents.example:8080 --timeout 2m
  agentwire proxy tcp://0.0.0.0:8080 unix:///tmp/echo.sock --pool 16 --share 64 --codec msgpack";
