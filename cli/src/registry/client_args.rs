//! The options that the commands for registry queries share.

use std::{sync::Arc, time::Duration};

use agentwire::{
    Map, RetryPolicy,
    registry::{Registration, SharedRegistry, backend::RegistrationExt},
    transport::internal::Untrusted,
};
use clap::Args;

use super::table::{self, Width};
use crate::{
    auth_args::TokenArgs,
    exit::CliError,
    frame_limit::parse_memory_budget,
    output,
    registry_url::{Opening, RegistryUrl, parse_registry_url},
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

    /// The maximum memory for a list, such as 256MiB; a longer list is an error
    #[arg(long, value_name = "SIZE", default_value = "64MiB", display_order = 802,
          value_parser = parse_memory_budget)]
    max_list_size: usize,

    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    tls: TlsClientArgs,
}

impl ClientArgs {
    /// Creates a client, which connects when it is first used.
    pub(super) fn open(&self) -> Result<SharedRegistry, CliError> {
        self.opening(false).open()
    }

    /// Creates a client that changes registrations, and also lists the Unix sockets and loopback
    /// addresses of other machines, which this machine cannot call.
    pub(super) fn open_complete(&self) -> Result<SharedRegistry, CliError> {
        self.url.check_writable()?;
        self.opening(true).open()
    }

    fn opening(&self, include_remote_local: bool) -> Opening<'_> {
        let mut opening = Opening::new(&self.url, self.timeout, &self.tls, &self.token);
        opening.observer = self.url.request_log();
        opening.max_list_size = Some(self.max_list_size);
        opening.include_remote_local = include_remote_local;
        // The user of the command sees the first failure immediately.
        opening.retry = RetryPolicy::never();
        opening
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    /// Prints that an instance was registered or removed: as a line, or as a JSON object.
    pub(super) fn print_change(
        &self,
        word: &str,
        name: &str,
        endpoint: &str,
        lease: Option<Duration>,
    ) -> Result<(), CliError> {
        if !self.json {
            let lease = lease.map(|it| format!(", lease {}", humantime::format_duration(it)));
            let (name, endpoint) = (Untrusted(name), Untrusted(endpoint));
            let lease = lease.unwrap_or_default();
            return output::print_line(format_args!("{word} {name} at {endpoint}{lease}"));
        }
        let mut line = Map::from([
            ("event", word.to_owned()),
            ("name", name.to_owned()),
            ("endpoint", endpoint.to_owned()),
        ]);
        if let Some(lease) = lease {
            line.insert(
                "lease_ms",
                u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            );
        }
        output::print_json(line)
    }

    /// Prints registrations as a table or, with `--json`, as one JSON object per line. A wide table
    /// has all that is registered.
    pub(super) fn print(
        &self,
        registrations: &[Arc<Registration>],
        width: Width,
    ) -> Result<(), CliError> {
        let text = if self.json {
            json_lines(registrations)
        } else {
            table::table(registrations, width)
        };
        output::print(text.as_bytes())
    }
}

fn json_lines(registrations: &[Arc<Registration>]) -> String {
    let maps = registrations.iter().map(|it| it.to_map());
    maps.map(|map| format!("{}\n", output::json(map))).collect()
}
