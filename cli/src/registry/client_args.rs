//! The options that the commands for registry queries share.

use std::{sync::Arc, time::Duration};

use agentwire::registry::{Registration, SharedRegistry, backend::RegistrationExt};
use clap::Args;

use super::table;
use crate::{
    auth_args::TokenArgs,
    exit::CliError,
    output,
    registry_url::{RegistryUrl, parse_registry_url},
    timeout::parse_timeout,
    tls_args::TlsClientArgs,
};

/// The registry to query and the format of the output.
#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// The registry: unix:///path/to/socket, tcp://host:port, tls://host:port, redis://host:port,
    /// dns://name:port or static:ENDPOINT,ENDPOINT
    #[arg(value_name = "REGISTRY", value_parser = parse_registry_url)]
    url: RegistryUrl,

    /// Print one JSON object per line instead of a table
    #[arg(long, display_order = 800)]
    json: bool,

    /// The maximum time to wait for an answer, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "10s", display_order = 801,
          value_parser = parse_timeout)]
    timeout: Duration,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    tls: TlsClientArgs,
}

impl ClientArgs {
    /// Creates a client, which connects when it is first used.
    pub(super) fn open(&self) -> Result<SharedRegistry, CliError> {
        let log = self.url.request_log();
        self.url.open(self.timeout, &self.tls, &self.token, log)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    /// Prints registrations as a table or, with `--json`, as one JSON object per line.
    pub(super) fn print(&self, registrations: &[Arc<Registration>]) -> Result<(), CliError> {
        let text = if self.json {
            json_lines(registrations)
        } else {
            table::table(registrations)
        };
        output::print(text.as_bytes())
    }
}

fn json_lines(registrations: &[Arc<Registration>]) -> String {
    let maps = registrations.iter().map(|it| it.to_map());
    maps.map(|map| format!("{}\n", output::json(map))).collect()
}
