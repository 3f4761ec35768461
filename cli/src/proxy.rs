//! The command `proxy`, which forwards requests to another endpoint.

use std::{num::NonZeroUsize, time::Duration};

use agentwire::{Endpoint, FrameLimits, Proxy, ProxyTarget, RemoteAgent, RemoteAgentBuilder};
use clap::Args;

use crate::{
    admin::Admin,
    auth_args::TokenArgs,
    codec::{CodecArg, PeerArg},
    endpoint_args::{parse_connect_endpoint, parse_listen_endpoint},
    exit::{CliError, Exit},
    frame_limit::parse_frame_limit,
    registry_url::{Opening, RegistryUrl, parse_registry_url},
    runtime,
    server_args::ServerArgs,
    serving,
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
    /// The endpoint to listen on, such as unix:///path/to/socket or tcp://host:port; with port 0,
    /// the system chooses a free port; leave LISTEN_ENDPOINT out if --fd or LISTEN_FDS passes
    /// sockets
    // The first argument is the target if LISTEN_ENDPOINT is left out.
    #[arg(value_name = "LISTEN_ENDPOINT")]
    listen: Option<String>,

    /// The endpoint of the server to forward to; leave TARGET_ENDPOINT out if --registry finds the
    /// server
    #[arg(value_name = "TARGET_ENDPOINT")]
    target: Option<String>,

    /// Forward to the instances of the agent --name in this registry, instead of TARGET_ENDPOINT
    #[arg(long, value_name = "URL", value_parser = parse_registry_url, requires = "name")]
    registry: Option<RegistryUrl>,

    /// The name of the agent in calls that name no agent, and in the registry
    #[arg(long)]
    name: Option<String>,

    /// The encoding of requests to the target
    #[arg(long, default_value = "json")]
    codec: CodecArg,

    /// The kind of the target; go refuses messages that would end the process of a Go server
    #[arg(long, value_name = "KIND", default_value = "any")]
    peer: PeerArg,

    /// The maximum time to wait for a reply from the target, or for each chunk, such as 500ms or
    /// 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = parse_timeout)]
    timeout: Duration,

    /// The number of connections to the target for calls, and the same number for streams; further
    /// calls wait, within --timeout
    #[arg(long, value_name = "N", default_value = "64")]
    pool: NonZeroUsize,

    /// The number of calls that share a connection to the target [default: 1, and 64 over HTTP/2
    /// and gRPC]; more than 1 only for servers that answer in any order, such as `agentwire serve`
    #[arg(long, value_name = "N")]
    share: Option<NonZeroUsize>,

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
    pub(crate) fn run(mut self) -> Result<(), CliError> {
        let (listen, target) = self.endpoints()?;
        let admin = self.server.admin();
        let target: ProxyTarget = match (target, &self.registry) {
            (Some(endpoint), _) => self
                .configure(RemoteAgent::builder(endpoint), admin.as_ref())?
                .into(),
            (None, Some(url)) => {
                let timeout = (self.timeout / 2).min(REGISTRY_TIMEOUT);
                let registry = Opening::new(url, timeout, &self.tls, &self.token).open()?;
                let name = self.name.as_deref().unwrap_or_default();
                let builder = RemoteAgent::discover(registry, name);
                self.configure(builder, admin.as_ref())?.into()
            }
            (None, None) => return Err(missing("TARGET_ENDPOINT, or --registry with --name")),
        };
        let proxy = Proxy::builder(target)
            .max_connections(self.max_connections)
            .frame_limits(self.frame_limit);
        let (proxy, doors) =
            self.server
                .apply(proxy, listen.into_iter().collect(), admin.as_ref())?;
        runtime::run_server(async {
            let mut signals = StopSignals::start()?;
            let proxy = doors.add_to(proxy)?;
            let admin = Admin::start_if_set(admin).await?;
            let proxy = tokio::select! {
                served = proxy.serve() => served?,
                () = signals.next() => return Ok(()),
            };
            let (stop, abort) = (proxy.stop(), proxy.abort());
            serving::until_stopped(signals, admin, proxy.endpoints(), stop, abort).await;
            Ok(())
        })
    }

    /// Returns the endpoint to listen on and the target, which are left out if the sockets are
    /// passed or a registry finds the target.
    fn endpoints(&mut self) -> Result<(Option<Endpoint>, Option<Endpoint>), CliError> {
        let (mut listen, mut target) = (self.listen.take(), self.target.take());
        let finds_target = self.registry.is_some();
        if finds_target && target.is_some() {
            let problem = "TARGET_ENDPOINT cannot be used with --registry";
            return Err(CliError::new(Exit::Usage, problem));
        }
        if self.server.has_sockets() && !finds_target && target.is_none() {
            target = listen.take();
        }
        if listen.is_none() && !self.server.has_sockets() {
            return Err(missing("LISTEN_ENDPOINT"));
        }
        let invalid = |name| move |problem| CliError::new(Exit::Usage, problem).context(name);
        let listen = listen.as_deref().map(parse_listen_endpoint).transpose();
        let target = target.as_deref().map(parse_connect_endpoint).transpose();
        Ok((
            listen.map_err(invalid("LISTEN_ENDPOINT"))?,
            target.map_err(invalid("TARGET_ENDPOINT"))?,
        ))
    }

    fn configure<D>(
        &self,
        builder: RemoteAgentBuilder<D>,
        admin: Option<&Admin>,
    ) -> Result<RemoteAgentBuilder<D>, CliError> {
        let mut builder = builder
            .format(self.codec.into())
            .peer(self.peer.into())
            .timeout(self.timeout)
            .max_connections(self.pool.get())
            .frame_limits(self.frame_limit)
            .tls(self.tls.client()?);
        if let Some(share) = self.share {
            builder = builder.max_in_flight_per_connection(share.get());
        }
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        for observer in admin.into_iter().flat_map(Admin::observers) {
            builder = builder.observer(observer);
        }
        self.token.apply(builder)
    }
}

fn missing(what: &str) -> CliError {
    CliError::new(Exit::Usage, format!("nothing to forward: give {what}"))
}

/// The maximum timeout of registry lookups.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(3);

const AFTER_HELP: &str = "\
Examples:
  agentwire proxy tcp://127.0.0.1:8080 unix:///tmp/echo.sock
  agentwire proxy unix:///tmp/far.sock tcp://agents.example:8080 --timeout 2m
  agentwire proxy tcp://0.0.0.0:8080 unix:///tmp/echo.sock --pool 16 --share 64 --codec msgpack
  agentwire proxy tcp://0.0.0.0:8080 --registry tcp://localhost:7000 --name weather";
