//! The command `serve`, and the function that serves an agent until a signal is received.

use std::{sync::Arc, time::Duration};

use agentwire::{
    Endpoint, FrameLimits, LocalAgent, LocalAgentBuilder, Map,
    registry::{RegistrationHandle, Version},
};
use clap::Args;

use crate::{
    admin::Admin,
    agents::{AgentKind, BuiltIn},
    auth_args::TokenArgs,
    doors::Doors,
    endpoint_args::parse_listen_endpoint,
    exit::CliError,
    frame_limit::parse_frame_limit,
    message_args::parse_metadata,
    output,
    registrations::report_registrations,
    registry_url::{Opening, RegistryUrl, parse_registry_url},
    runtime,
    server_args::ServerArgs,
    signals::StopSignals,
    tls_args::TlsClientArgs,
    tools::BuiltInTool,
};

/// Serve a built-in agent for testing clients
///
/// The server prints a line "listening on ENDPOINT" for each endpoint, in their order, when it
/// accepts connections on all of them. On SIGINT or SIGTERM, it
/// stops accepting calls, waits up to --grace for the calls in flight, and exits. A second signal
/// aborts the calls in flight. The server continues to serve if the reader of its output ends, as
/// in `| head -n 1`.
///
/// With --registry, the server prints "registered NAME at ENDPOINT" when the agent is registered,
/// and unregisters the agent before it shuts down. If the agent falls out of the registry, the
/// server says so on standard error, registers the agent again, and says that, too.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ServeArgs {
    /// The endpoints to listen on, such as unix:///path/to/socket or tcp://host:port; with port 0,
    /// the system chooses a free port; leave ENDPOINT out if --fd or LISTEN_FDS passes sockets
    #[arg(value_name = "ENDPOINT", value_parser = parse_listen_endpoint)]
    endpoints: Vec<Endpoint>,

    /// The agent to serve: echo, slow:MS, fail or count:N
    #[arg(long, default_value = "echo", long_help = AGENT_HELP)]
    agent: AgentKind,

    /// The name of the agent [default: echo, slow, fail or count]
    #[arg(long)]
    name: Option<String>,

    /// A tool to offer, too: add, echo, fail or slow:MS; can be repeated
    #[arg(long)]
    tool: Vec<BuiltInTool>,

    /// The version of the agent, such as 1.2.0, for callers and the registry
    #[arg(long)]
    version: Option<Version>,

    /// The capabilities of the agent, as a JSON object, for callers and the registry
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    capabilities: Option<Map>,

    /// The metadata of the agent, as a JSON object, for callers and the registry
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Map>,

    /// The maximum number of open connections; raise the limit on open files (ulimit -n)
    /// accordingly
    #[arg(long, value_name = "N", default_value = "1024")]
    max_connections: usize,

    /// The maximum size of a frame to accept and to send, such as 16MiB
    #[arg(long, value_name = "SIZE", default_value = "10MiB", value_parser = parse_frame_limit)]
    frame_limit: FrameLimits,

    #[command(flatten)]
    server: ServerArgs,

    /// Register the agent in this registry while the server runs
    #[arg(long, value_name = "URL", value_parser = parse_registry_url)]
    registry: Option<RegistryUrl>,

    /// The endpoint to register; port 0 is replaced by the port that the agent listens on; repeat
    /// the option to register several endpoints [default: each ENDPOINT that others can call]
    #[arg(long, value_name = "ENDPOINT", value_parser = parse_listen_endpoint, requires = "registry")]
    advertise: Vec<Endpoint>,

    #[command(flatten)]
    token: TokenArgs,

    /// For the registry.
    #[command(flatten)]
    tls: TlsClientArgs,
}

impl ServeArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let agent = BuiltIn::new(self.agent, self.name);
        let agent = agent.with_capabilities(self.capabilities.unwrap_or_default());
        let mut local = LocalAgent::builder(agent)
            .max_connections(self.max_connections)
            .frame_limits(self.frame_limit);
        for tool in self.tool {
            local = local.tool(tool);
        }
        if let Some(version) = self.version {
            local = local.version(version);
        }
        for (key, value) in self.metadata.unwrap_or_default() {
            local = local.metadata(key, value);
        }
        let admin = self.server.admin();
        let (mut local, doors) = self.server.apply(local, self.endpoints, admin.as_ref())?;
        if let Some(registry) = self.registry {
            registry.check_writable()?;
            local = local.registry(
                Opening::new(&registry, REGISTRY_TIMEOUT, &self.tls, &self.token).open()?,
            );
        }
        for endpoint in self.advertise {
            local = local.advertised_endpoint(endpoint);
        }
        serve_until_stopped(local, doors, admin)
    }
}

/// Serves an agent until a signal is received, and then waits for the calls in flight. A second
/// signal aborts the calls in flight.
fn serve_until_stopped(
    agent: LocalAgentBuilder,
    doors: Doors,
    admin: Option<Admin>,
) -> Result<(), CliError> {
    runtime::run_server(async {
        let mut signals = StopSignals::start()?;
        let agent = doors.add_to(agent)?;
        let admin = Admin::start_if_set(admin).await?;
        let local = tokio::select! {
            served = agent.serve() => Arc::new(served?),
            () = signals.next() => return Ok(()),
        };
        if let Some(admin) = &admin {
            let local = Arc::clone(&local);
            admin.serving(move || {
                let mut registrations = local.registrations().iter();
                registrations.all(RegistrationHandle::is_registered)
            });
        }
        for endpoint in local.endpoints() {
            tracing::info!(%endpoint, agent = local.name(), "listening");
            output::announce(format_args!("listening on {endpoint}"));
        }

        tokio::select! {
            biased;
            () = signals.next() => {}
            error = report_registrations(local.registrations()) => return Err(error),
        }
        if let Some(admin) = &admin {
            admin.stopping();
        }
        signals.stop(local.stop(), local.abort()).await;
        Ok(())
    })
}

/// The timeout for each registration and heartbeat.
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(10);

const AGENT_HELP: &str = "\
The agent to serve:
  echo     replies with the content and metadata of the request
  slow:MS  like echo, after MS milliseconds
  fail     fails every call
  count:N  streams N chunks, numbered from 0; like echo for calls that do not stream";

const AFTER_HELP: &str = "\
Examples:
  agentwire serve unix:///tmp/echo.sock
  agentwire serve tcp://127.0.0.1:0 --agent count:5
  agentwire serve tcp://[::1]:8080 --agent slow:250 --name sleepy
  agentwire serve unix:///run/agents/echo.sock --tool add --tool fail --socket-group agents
  agentwire serve unix:///tmp/echo.sock tcp://0.0.0.0:8080
  agentwire serve tcp://0.0.0.0:0 --registry tcp://localhost:7000 --advertise tcp://myhost:0";
