use std::time::Duration;

use agentwire::{
    Endpoint,
    registry::{DuplicatePolicy, LocalRegistry, RegistryConfig, RegistryServer},
};
use clap::Args;

use crate::{
    exit::Failure, output, runtime, signals::StopSignals, target::parse_listen_endpoint,
    timeout::parse_timeout,
};

/// Serve a registry, for agents to register with
///
/// Prints "listening on ENDPOINT" once it accepts connections, and stops as `agentwire serve` does. What is
/// registered is in memory: after a restart, agents register again within a heartbeat.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RegistryServeArgs {
    /// Where to listen: unix:///path/to/socket or tcp://host:port, port 0 being any that is free
    #[arg(value_parser = parse_listen_endpoint)]
    endpoint: Endpoint,

    /// How long an agent is taken to live without a word from it, such as 15s; it is heard three times as often
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = parse_timeout)]
    lease: Duration,

    /// Refuse a second endpoint under one name, in place of taking it for another instance
    #[arg(long)]
    unique: bool,

    /// How many connections are open at most; the process must be allowed as many files
    #[arg(long, value_name = "N", default_value = "4096")]
    max_connections: usize,

    /// How many watches are served at most, and so how many clients follow agents by name [default: half of the
    /// connections; the others are left to heartbeats and lookups]
    #[arg(long, value_name = "N")]
    max_watches: Option<usize>,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry serve unix:///tmp/registry.sock
  agentwire registry serve tcp://0.0.0.0:7000 --lease 15s --unique";

impl RegistryServeArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let duplicates = match self.unique {
            true => DuplicatePolicy::Refuse,
            false => DuplicatePolicy::Allow,
        };
        let config = RegistryConfig::new()
            .lease(self.lease)
            .duplicates(duplicates);
        let registry = LocalRegistry::with_config(config)?;
        let mut server = RegistryServer::builder(registry).max_connections(self.max_connections);
        if let Some(watches) = self.max_watches {
            server = server.max_watches(watches);
        }
        runtime::run_server(async {
            let mut signals = StopSignals::start()?;
            let server = tokio::select! {
                served = server.serve(self.endpoint.clone()) => served?,
                () = signals.next() => return Ok(()),
            };
            tracing::info!(endpoint = %server.endpoint(), "listening");
            output::print_line(format_args!("listening on {}", server.endpoint()))?;
            signals.next().await;
            signals.stop(server.stop(), server.abort()).await;
            Ok(())
        })
    }
}
