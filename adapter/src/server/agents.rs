use std::{collections::BTreeMap, fmt, sync::Arc};

use agentwire_codec::{ErrorCode, Map, Value, WireError, map};

use crate::{
    Error,
    agent::{BoxAgent, DynAgent},
    tool::DynTool,
};

/// What a server offers: agents, and tools beside them.
#[derive(Clone)]
pub(super) struct Service {
    /// The one that was named first, which speaks for the server.
    first: Arc<dyn DynAgent>,
    /// By name; empty if the first one answers to any.
    agents: BTreeMap<String, Arc<dyn DynAgent>>,
    tools: BTreeMap<String, Arc<dyn DynTool>>,
}

impl Service {
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] for agents or tools that could not be told apart, or not be called.
    pub(super) fn new(
        agents: Vec<BoxAgent>,
        strict_names: bool,
        tools: Vec<Arc<dyn DynTool>>,
    ) -> Result<Self, Error> {
        let agents: Vec<_> = agents.into_iter().map(BoxAgent::into_inner).collect();
        let first = agents
            .first()
            .cloned()
            .ok_or(invalid("agent", "there is none"))?;
        let by_name = match agents.len() == 1 && !strict_names {
            true => BTreeMap::new(),
            false => by_name("agent", agents, |agent| agent.name())?,
        };
        Ok(Self {
            first,
            agents: by_name,
            tools: self::by_name("tool", tools, |tool| tool.name())?,
        })
    }

    /// The agent that speaks for the server.
    pub(super) fn first(&self) -> &Arc<dyn DynAgent> {
        &self.first
    }

    pub(super) fn agent(&self, name: &str) -> Result<&Arc<dyn DynAgent>, WireError> {
        if self.agents.is_empty() {
            return Ok(&self.first);
        }
        self.agents.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.agents.keys().map(String::as_str).collect();
            let text = match name {
                "" => format!("No agent is named; there are: {}", known.join(", ")),
                _ => format!("Agent not found: {name}; there are: {}", known.join(", ")),
            };
            WireError::new(ErrorCode::AGENT_NOT_FOUND, text)
                .with_details(map! {"agent_name": name, "available": known})
        })
    }

    pub(super) fn tool(&self, name: &str) -> Result<&Arc<dyn DynTool>, WireError> {
        self.tools.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.tools.keys().map(String::as_str).collect();
            let text = match &known[..] {
                [] => format!("Tool not found: {name}; there are none here"),
                known => format!("Tool not found: {name}; there are: {}", known.join(", ")),
            };
            WireError::new(ErrorCode::TOOL_NOT_FOUND, text)
                .with_details(map! {"tool_name": name, "available": known})
        })
    }

    /// What the first agent says of itself, and the tools under `tools`, unless it names some itself.
    pub(super) fn capabilities(&self) -> Map {
        let mut capabilities = self.first.capabilities();
        if !self.tools.is_empty() && !capabilities.contains_key("tools") {
            let tools: Value = self.tools.values().map(|tool| describe(&**tool)).collect();
            capabilities.insert("tools", tools);
        }
        capabilities
    }
}

fn invalid(setting: &'static str, problem: &'static str) -> Error {
    Error::InvalidSetting { setting, problem }
}

fn by_name<T>(
    setting: &'static str,
    things: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Result<BTreeMap<String, T>, Error> {
    let mut by_name = BTreeMap::new();
    for thing in things {
        let name = name(&thing).to_owned();
        if name.is_empty() {
            return Err(invalid(setting, "must have a name"));
        }
        if by_name.insert(name, thing).is_some() {
            return Err(invalid(setting, "two have the same name"));
        }
    }
    Ok(by_name)
}

fn describe(tool: &dyn DynTool) -> Map {
    map! {
        "name": (tool.name()),
        "description": (tool.description()),
        "parameters": (tool.parameters()),
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("first", &self.first.name())
            .field("agents", &self.agents.keys().collect::<Vec<_>>())
            .field("tools", &self.tools.keys().collect::<Vec<_>>())
            .finish()
    }
}
