//! What a server says about itself: [`ServerDescription`].

use agentwire_codec::{Map, Value};
use agentwire_registry::Version;

/// The agents and tools of a server, as [`RemoteAgent::describe`](crate::RemoteAgent::describe)
/// returns them.
///
/// ```
/// use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let server = LocalAgent::serve(echo, "memory://description-page").await?;
///
/// let description = RemoteAgent::new(server.endpoint())?.describe().await?;
/// assert_eq!(description.agents[0].name, "echo");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ServerDescription {
    /// The agents, sorted by name.
    pub agents: Vec<AgentDescription>,
    /// The tools, sorted by name.
    pub tools: Vec<ToolDescription>,
}

/// An agent of a server: see [`ServerDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentDescription {
    /// The name under which the agent can be called.
    pub name: String,
    /// The version of the agent, if the server has one.
    pub version: Option<Version>,
    /// The capabilities of the agent. The tools of the server are not part of the capabilities.
    pub capabilities: Map,
    /// The metadata of the agent.
    pub metadata: Map,
}

/// A tool of a server: see [`ServerDescription`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolDescription {
    /// The name of the tool.
    pub name: String,
    /// The description of the tool, which may be empty.
    pub description: String,
    /// The JSON Schema of the arguments. An empty schema allows any arguments.
    pub parameters: Map,
}

impl ServerDescription {
    /// Returns the payload of the answer to `describe` (PROTOCOL 13).
    pub(crate) fn into_payload(self) -> Map {
        let agents = self.agents.into_iter().map(AgentDescription::into_map);
        let tools = self.tools.into_iter().map(ToolDescription::into_map);
        Map::from([
            ("agents", agents.collect::<Value>()),
            ("tools", tools.collect::<Value>()),
        ])
    }

    /// Reads the payload of an answer to `describe`. Returns `None` if a value has the wrong type.
    pub(crate) fn from_payload(mut payload: Map) -> Option<Self> {
        let agents = list(&mut payload, "agents")?.into_iter();
        let tools = list(&mut payload, "tools")?.into_iter();
        Some(Self {
            agents: agents
                .map(AgentDescription::from_value)
                .collect::<Option<_>>()?,
            tools: tools
                .map(ToolDescription::from_value)
                .collect::<Option<_>>()?,
        })
    }
}

impl AgentDescription {
    fn into_map(self) -> Map {
        let mut map = Map::from([("name", self.name)]);
        if let Some(version) = self.version {
            map.insert("version", version.to_string());
        }
        map.insert("capabilities", self.capabilities);
        map.insert("metadata", self.metadata);
        map
    }

    fn from_value(value: Value) -> Option<Self> {
        let Value::Map(mut map) = value else {
            return None;
        };
        let version = match map.remove("version") {
            None | Some(Value::Null) => None,
            Some(version) => Some(version.as_str()?.parse().ok()?),
        };
        Some(Self {
            name: text(&mut map, "name")?,
            version,
            capabilities: object(&mut map, "capabilities")?,
            metadata: object(&mut map, "metadata")?,
        })
    }
}

impl ToolDescription {
    pub(crate) fn new(name: &str, description: &str, parameters: Map) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            parameters,
        }
    }

    /// Returns the form in which tools are described on the wire and in capabilities.
    pub(crate) fn into_map(self) -> Map {
        let mut map = Map::from([("name", self.name), ("description", self.description)]);
        map.insert("parameters", self.parameters);
        map
    }

    fn from_value(value: Value) -> Option<Self> {
        let Value::Map(mut map) = value else {
            return None;
        };
        Some(Self {
            name: text(&mut map, "name")?,
            description: text(&mut map, "description").unwrap_or_default(),
            parameters: object(&mut map, "parameters")?,
        })
    }
}

fn text(map: &mut Map, key: &str) -> Option<String> {
    match map.remove(key) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// Removes an object, which is empty if it is missing or null.
fn object(map: &mut Map, key: &str) -> Option<Map> {
    match map.remove(key) {
        None | Some(Value::Null) => Some(Map::new()),
        Some(Value::Map(object)) => Some(object),
        Some(_) => None,
    }
}

/// Removes a list, which is empty if it is missing or null.
fn list(map: &mut Map, key: &str) -> Option<Vec<Value>> {
    match map.remove(key) {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::List(list)) => Some(list),
        Some(_) => None,
    }
}

/// The method of a request for a [`ServerDescription`].
pub(crate) const DESCRIBE: &str = "describe";

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    #[test]
    fn a_description_survives_the_wire() {
        let description = ServerDescription {
            agents: vec![AgentDescription {
                name: "weather".to_owned(),
                version: "2.1.0".parse().ok(),
                capabilities: map! {"languages": ["en"]},
                metadata: map! {"zone": "b"},
            }],
            tools: vec![ToolDescription::new("add", "Adds", map! {"type": "object"})],
        };
        let payload = description.clone().into_payload();
        assert_eq!(ServerDescription::from_payload(payload), Some(description));
    }

    #[test]
    fn missing_keys_are_empty_and_wrong_types_are_refused() {
        let empty = ServerDescription::default();
        assert_eq!(ServerDescription::from_payload(Map::new()), Some(empty));
        let sparse = map! {"agents": [{"name": "a", "version": null}], "tools": [{"name": "t"}]};
        let sparse = ServerDescription::from_payload(sparse).unwrap();
        assert_eq!(
            (sparse.agents[0].name.as_str(), sparse.tools.len()),
            ("a", 1)
        );
        for wrong in [
            map! {"agents": 1},
            map! {"agents": [1]},
            map! {"agents": [{}]},
            map! {"agents": [{"name": "a", "version": "newest"}]},
            map! {"agents": [{"name": "a", "capabilities": []}]},
            map! {"tools": [{"name": "t", "parameters": "any"}]},
        ] {
            assert_eq!(
                ServerDescription::from_payload(wrong.clone()),
                None,
                "{wrong:?}"
            );
        }
    }
}
