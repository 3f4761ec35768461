use agentwire::{
    Map,
    registry::{Query, Registry, VersionReq},
};
use clap::Args;

use super::ask_args::AskArgs;
use crate::{exit::Failure, message_args::parse_metadata, runtime};

/// Print agents by what they can do
///
/// All conditions must be met; an option that may be repeated is a condition each time. Nothing is printed if
/// nothing is found.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    ask: AskArgs,

    /// A capability that it must have: a key, or keys from the outside in with dots between them
    #[arg(long, value_name = "PATH")]
    capability: Vec<String>,

    /// A tool that it must have
    #[arg(long, value_name = "NAME")]
    tool: Vec<String>,

    /// What its version must meet, as Cargo has it, such as ^1.2 or '>=1, <3'
    #[arg(long = "version", value_name = "REQUIREMENT")]
    requirement: Option<VersionReq>,

    /// What its metadata must hold, a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Map>,

    /// The name that it must have
    #[arg(long)]
    name: Option<String>,
}

const AFTER_HELP: &str = r#"Examples:
  agentwire registry find unix:///tmp/registry.sock --capability languages.ja
  agentwire registry find tcp://localhost:7000 --tool forecast --version ^2
  agentwire registry find tcp://localhost:7000 --metadata '{"zone": "b"}' --json"#;

impl FindArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut query = Query::new();
        for path in &self.capability {
            query = query.capability(path);
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
        let registry = self.ask.open()?;
        let found = runtime::run_client(async { Ok(registry.find(&query).await?) })?;
        self.ask.print(&found)
    }
}
