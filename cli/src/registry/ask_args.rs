use std::{sync::Arc, time::Duration};

use agentwire::registry::{Registration, SharedRegistry};
use clap::Args;

use super::table;
use crate::{
    exit::Failure,
    output,
    registry_url::{RegistryUrl, parse_registry_url},
    timeout::parse_timeout,
};

/// Which registry to ask, and how to show what it says: the options that all questions share.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// Where the registry is: unix:///path/to/socket, tcp://host:port or redis://host:port
    #[arg(value_name = "REGISTRY", value_parser = parse_registry_url)]
    url: RegistryUrl,

    /// Print JSON, each line an object, in place of a table
    #[arg(long, display_order = 800)]
    json: bool,

    /// How long to wait for an answer, such as 500ms or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "10s", display_order = 801,
          value_parser = parse_timeout)]
    timeout: Duration,
}

impl AskArgs {
    /// A client of the registry, which does not connect yet.
    pub(super) fn open(&self) -> Result<SharedRegistry, Failure> {
        self.url.open(self.timeout)
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn wants_json(&self) -> bool {
        self.json
    }

    /// Prints registrations as it was asked for.
    pub(super) fn print(&self, registrations: &[Arc<Registration>]) -> Result<(), Failure> {
        let text = match self.json {
            true => json_lines(registrations),
            false => table::table(registrations),
        };
        output::print(text.as_bytes())
    }
}

fn json_lines(registrations: &[Arc<Registration>]) -> String {
    let lines = registrations.iter();
    let lines = lines.map(|found| format!("{}\n", agentwire::Value::Map(found.to_map())));
    lines.collect()
}
