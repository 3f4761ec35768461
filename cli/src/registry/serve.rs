//! The command `registry serve`.

use std::time::Duration;

use agentwire::{
    Endpoint,
    registry::{DuplicatePolicy, LocalRegistry, RegistryConfig, RegistryServer},
};
use clap::Args;

use crate::{
    admin::Admin, endpoint_args::parse_listen_endpoint, exit::CliError,
    frame_limit::parse_memory_budget, runtime, server_args::ServerArgs, serving,
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
    /// The endpoints to listen on, such as unix:///path/to/socket or tcp://host:port; with port 0,
    /// the system chooses a free port; leave ENDPOINT out if --fd or LISTEN_FDS passes sockets
    #[arg(value_name = "ENDPOINT", value_parser = parse_listen_endpoint)]
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

    /// The maximum number of watches on one connection
    #[arg(long, value_name = "N", default_value = "16")]
    max_watches_per_connection: usize,

    /// The maximum number of watches of one peer: a user, an IPv4 address or an IPv6 network
    /// [default: half of --max-watches, but at least 16]
    #[arg(long, value_name = "N")]
    max_watches_per_peer: Option<usize>,

    /// The maximum number of registrations of one connection
    #[arg(long, value_name = "N", default_value = "1024")]
    max_registrations_per_connection: usize,

    /// The maximum number of registrations of one peer
    #[arg(long, value_name = "N", default_value = "16384")]
    max_registrations_per_peer: usize,

    /// The maximum number of registrations of all peers together
    #[arg(long, value_name = "N", default_value = "65536")]
    max_registrations: usize,

    /// The maximum number of instances of one agent
    #[arg(long, value_name = "N", default_value = "1024")]
    max_instances: usize,

    /// The maximum memory for all registrations, such as 512MiB
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_memory_budget)]
    max_total_size: usize,

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
            .duplicates(duplicates)
            .max_registrations(self.max_registrations)
            .max_instances(self.max_instances)
            .max_total_size(self.max_total_size);
        let registry = LocalRegistry::with_config(config)?;
        let mut server = RegistryServer::builder(registry)
            .max_connections(self.max_connections)
            .max_watches_per_connection(self.max_watches_per_connection)
            .max_registrations_per_connection(self.max_registrations_per_connection)
            .max_registrations_per_peer(self.max_registrations_per_peer);
        if let Some(watches) = self.max_watches {
            server = server.max_watches(watches);
        }
        if let Some(watches) = self.max_watches_per_peer {
            server = server.max_watches_per_peer(watches);
        }
        let admin = self.server.admin();
        let (server, doors) = self.server.apply(server, self.endpoints, admin.as_ref())?;
        runtime::run_server(async {
            let mut signals = StopSignals::start()?;
            let server = doors.add_to(server)?;
            let admin = Admin::start_if_set(admin).await?;
            let server = tokio::select! {
                served = server.serve() => served?,
                () = signals.next() => return Ok(()),
            };
            let (stop, abort) = (server.stop(), server.abort());
            serving::until_stopped(signals, admin, server.endpoints(), stop, abort).await;
            Ok(())
        })
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry serve unix:///tmp/registry.sock
  agentwire registry serve tcp://0.0.0.0:7000 --lease 15s --unique";
