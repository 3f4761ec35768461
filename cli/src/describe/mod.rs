//! The command `describe`, which prints what a server or a registry knows about agents.

pub(crate) mod text;

use std::sync::Arc;

use agentwire::{
    Error, Map, RemoteAgent, ServerDescription, ToolDescription, Value,
    registry::{Registration, Registry, backend::RegistrationExt},
};
use agentwire_codec::ErrorCode;
use clap::Args;
use futures_util::future::join_all;

use crate::{
    exit::{CliError, Exit, with_code},
    output,
    registry_url::RegistryUrl,
    runtime,
    target_args::{Address, Target, TargetArgs},
    wait_args::WaitArgs,
};

/// Print the names, versions, capabilities and tools of agents
///
/// With ENDPOINT, the server describes its agents and tools. Servers in Python and Go cannot
/// describe themselves.
///
/// With --registry and --name, all registered instances of the agent are printed, each with the
/// description that its server gives, if the server can be reached.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DescribeArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Print one JSON object, on a terminal, too
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    wait: WaitArgs,
}

impl DescribeArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let target = self.target.resolve_alone()?;
        let remote = target.client()?;
        let (text, value) = runtime::run_client(async {
            match target.address() {
                Address::Endpoint(endpoint, _) => {
                    let description = self.wait.until_present(async || remote.describe().await);
                    let description = description.await.map_err(undescribed)?;
                    let text = text::server(endpoint, &description);
                    let mut map = Map::from([("endpoint", endpoint.to_string())]);
                    extend(&mut map, description);
                    Ok((text, map))
                }
                Address::Registry(url, name) => {
                    // Without --wait, instances that cannot be reached are described, too.
                    if self.wait.is_given() {
                        let present = self.wait.until_present(async || remote.ping().await);
                        present.await?;
                    }
                    let instances = instances(&target, url, name).await?;
                    let text = text::instances(name, &instances);
                    let instances = instances.into_iter().map(Instance::into_value);
                    let instances: Value = instances.collect();
                    let map = Map::from([("name", Value::from(name.as_str()))]);
                    Ok((text, with(map, "instances", instances)))
                }
            }
        })?;
        if self.json || !output::is_terminal() {
            output::print_json(value)
        } else {
            output::print(text.as_bytes())
        }
    }
}

/// A registered instance and the description that its server gives.
pub(crate) struct Instance {
    registration: Arc<Registration>,
    description: Result<ServerDescription, CliError>,
}

impl Instance {
    fn into_value(self) -> Value {
        let mut map = self.registration.to_map();
        match self.description {
            Ok(description) => {
                let mut server = Map::new();
                extend(&mut server, description);
                map.insert("server", server);
            }
            Err(error) => {
                map.insert("server", Value::Null);
                map.insert("error", error.text());
            }
        }
        map.into()
    }
}

/// Looks up the instances of an agent and asks each for its description.
async fn instances(
    target: &Target,
    url: &RegistryUrl,
    name: &str,
) -> Result<Vec<Instance>, CliError> {
    let registry = target.open_registry(url)?;
    let found = registry.lookup(name).await?;
    if found.is_empty() {
        let text = format!("no agent named {name:?} is registered");
        let text = with_code(text, &ErrorCode::AGENT_NOT_FOUND);
        return Err(CliError::new(Exit::Unreachable, text));
    }
    let described = found.into_iter().map(async |registration| {
        let description = match target.client_of(&registration.endpoint) {
            Ok(remote) => describe(&remote).await,
            Err(error) => Err(error),
        };
        Instance {
            registration,
            description,
        }
    });
    Ok(join_all(described).await)
}

async fn describe(remote: &RemoteAgent) -> Result<ServerDescription, CliError> {
    remote.describe().await.map_err(undescribed)
}

/// Converts the error of a request for a description.
pub(crate) fn undescribed(error: Error) -> CliError {
    match &error {
        Error::Unsupported { error: wire, .. } => {
            let text = "the server cannot describe itself: it does not know the method \"describe\", \
                        as servers in Python and Go do not";
            CliError::new(Exit::Remote, with_code(text.to_owned(), &wire.code))
        }
        _ => error.into(),
    }
}

fn extend(map: &mut Map, description: ServerDescription) {
    let agents = description.agents.into_iter().map(|agent| {
        let version = agent.version.map(|version| version.to_string());
        Value::from(Map::from([
            ("name", Value::from(agent.name)),
            ("version", version.map_or(Value::Null, Value::from)),
            ("capabilities", agent.capabilities.into()),
            ("metadata", agent.metadata.into()),
        ]))
    });
    map.insert("agents", agents.collect::<Value>());
    let tools = description.tools.into_iter().map(tool_map);
    map.insert("tools", tools.map(Value::from).collect::<Value>());
}

/// Returns the JSON form of a tool.
pub(crate) fn tool_map(tool: ToolDescription) -> Map {
    Map::from([
        ("name", Value::from(tool.name)),
        ("description", Value::from(tool.description)),
        ("parameters", tool.parameters.into()),
    ])
}

fn with(mut map: Map, key: &str, value: Value) -> Map {
    map.insert(key, value);
    map
}

const AFTER_HELP: &str = "\
Examples:
  agentwire describe unix:///tmp/tools.sock
  agentwire describe --registry tcp://localhost:7000 --name weather
  agentwire describe tcp://localhost:8080 --json | jq -r .tools[].name";
