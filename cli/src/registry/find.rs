//! The command `registry find`.

use agentwire::{
    Map, from_value,
    registry::{Query, Registry, VersionReq},
};
use agentwire_codec::json;
use clap::Args;

use super::{client_args::ClientArgs, table::Width};
use crate::{exit::CliError, message_args::parse_metadata, runtime};

/// Find agents by capability, tool, version, metadata or name
///
/// An agent must match all given options. --capability and --tool can be repeated. If no agent
/// matches, nothing is printed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// A capability that the agent must have: a key, or a path of nested keys such as languages.ja,
    /// or a JSON list of keys, for keys that contain dots
    #[arg(long, value_name = "PATH", value_parser = parse_capability)]
    capability: Vec<Capability>,

    /// A tool that the agent must have
    #[arg(long, value_name = "NAME")]
    tool: Vec<String>,

    /// The required version in Cargo's syntax, such as ^1.2 or '>=1, <3'
    #[arg(long = "version", value_name = "REQUIREMENT")]
    requirement: Option<VersionReq>,

    /// Metadata that the agent must have, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Map>,

    /// The name of the agent
    #[arg(long)]
    name: Option<String>,
}

impl FindArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let mut query = Query::new();
        for Capability(keys) in self.capability {
            query = query.capability_path(keys);
        }
        for tool in self.tool {
            query = query.tool(tool);
        }
        if let Some(requirement) = self.requirement {
            query = query.version(requirement);
        }
        if let Some(name) = self.name {
            query = query.name(name);
        }
        for (key, value) in self.metadata.unwrap_or_default() {
            query = query.metadata(key, value);
        }
        let registry = self.client.open()?;
        let matches = runtime::run_client(async { Ok(registry.find(&query).await?) })?;
        self.client.print(&matches, Width::Narrow)
    }
}

/// The path to a capability: its keys, outermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Capability(Vec<String>);

/// Parses a path with dots, or a JSON list of keys, for keys that contain dots.
fn parse_capability(text: &str) -> Result<Capability, String> {
    if !text.starts_with('[') {
        return Ok(Capability(text.split('.').map(str::to_owned).collect()));
    }
    let value = json::from_slice(text.as_bytes()).map_err(|fault| fault.to_string())?;
    from_value(value)
        .map(Capability)
        .map_err(|error| format!("expected a list of keys: {error}"))
}

const AFTER_HELP: &str = r#"Examples:
  agentwire registry find unix:///tmp/registry.sock --capability languages.ja
  agentwire registry find unix:///tmp/registry.sock --capability '["models", "gpt-4.1"]'
  agentwire registry find tcp://localhost:7000 --tool forecast --version ^2
  agentwire registry find tcp://localhost:7000 --metadata '{"zone": "b"}' --json"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_is_a_path_with_dots_or_a_list_of_keys() {
        for (text, keys) in [
            ("languages.ja", &["languages", "ja"][..]),
            (r#"["models", "gpt-4.1"]"#, &["models", "gpt-4.1"]),
        ] {
            let Capability(parsed) = parse_capability(text).unwrap();
            assert_eq!(parsed, keys, "{text}");
        }
        for text in ["[", "[1]", "[]extra"] {
            assert!(parse_capability(text).is_err(), "{text}");
        }
    }
}
