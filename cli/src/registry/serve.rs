//! The command `registry serve`.

use std::time::Duration;

use agentwire::{
    Endpoint,
    registry::{DuplicatePolicy, LocalRegistry, RegistryConfig, RegistryServer},
};
use clap::Args;

use crate::{
    endpoint_args::parse_listen_endpoint, exit::CliError, output, runtime, server_args::ServerArgs,
    signals::StopSignals, timeout::parse_timeout,
};

/// Serve a registry
///
/// The registry prints a line "listening on ENDPOINT" for each endpoint when it accepts
/// connections, and shuts down like `agentwire serve`. Registrations are kept in memory. After a
/// restart of the registry, agents register again with their next heartbeat.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RegistryServeArgs {
    /// The endpoints to listen on: unix:///path/to/socket, tcp://host:port or tls://host:port; with
    /// port 0, the system chooses a free port
    #[arg(value_name = "ENDPOINT", required = true, value_parser = parse_listen_endpoint)]
    endpoints: Vec<Endpoint>,

    /// The time after which a registration without a heartbeat expires; agents send three
    /// heartbeats per lease
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = parse_timeout)]
    lease: Duration,

    /// Reject a second endpoint for a registered name instead of adding an instance
    #[arg(long)]
    unique: bool,

    /// The maximum number of open connections; raise the limit on open files (ulimit -n)
    /// accordingly
    #[arg(long, value_name = "N", default_value = "4096")]
    max_connections: usize,

    /// The maximum number of watches; clients that call agents by name use watches too [default:
    /// half of --max-connections, so that the other half is available for heartbeats and lookups]
    #[arg(long, value_name = "N")]
    max_watches: Option<usize>,

    #[command(flatten)]
    server: ServerArgs,
}

impl RegistryServeArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let duplicates = if self.unique {
            DuplicatePolicy::Refuse
        } else {
            DuplicatePolicy::Allow
        };
        let config = RegistryConfig::new()
            .lease(self.lease)
            .duplicates(duplicates);
        let registry = LocalRegistry::with_config(config)?;
        let mut server = RegistryServer::builder(registry).max_connections(self.max_connections);
        if let Some(watches) = self.max_watches {
            server = server.max_watches(watches);
        }
        let mut server = self.server.apply(server, &self.endpoints)?;
        for endpoint in self.endpoints {
            server = server.endpoint(endpoint);
        }
        runtime::run_server(async {
            let mut signals = StopSignals::start()?;
            let server = tokio::select! {
                served = server.serve() => served?,
                () = signals.next() => return Ok(()),
            };
            for endpoint in server.endpoints() {
                tracing::info!(%endpoint, "listening");
                output::announce(format_args!("listening on {endpoint}"));
            }
            signals.next().await;
            signals.stop(server.stop(), server.abort()).await;
            Ok(())
        })
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry serve unix:///tmp/registry.sock
  agentwire registry serve tcp://0.0.0.0:7000 --lease 15s --unique";
