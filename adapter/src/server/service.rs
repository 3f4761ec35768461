use std::{collections::BTreeMap, fmt, sync::Arc};

use agentwire_codec::{ErrorCode, Map, Value, WireError, map};

use crate::{
    Error,
    agent::{BoxAgent, DynAgent},
    tool::DynTool,
};

/// What a server offers: an agent, and tools beside it.
#[derive(Clone)]
pub(super) struct Service {
    agent: Arc<dyn DynAgent>,
    tools: BTreeMap<String, Arc<dyn DynTool>>,
}

impl Service {
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] for tools that could not be told apart, or not be called.
    pub(super) fn new(agent: BoxAgent, tools: Vec<Arc<dyn DynTool>>) -> Result<Self, Error> {
        let invalid = |problem| Error::InvalidSetting {
            setting: "tool",
            problem,
        };
        let mut by_name = BTreeMap::new();
        for tool in tools {
            let name = tool.name().to_owned();
            if name.is_empty() {
                return Err(invalid("must have a name"));
            }
            if by_name.insert(name, tool).is_some() {
                return Err(invalid("two tools have the same name"));
            }
        }
        Ok(Self {
            agent: agent.into_inner(),
            tools: by_name,
        })
    }

    pub(super) fn agent(&self) -> &Arc<dyn DynAgent> {
        &self.agent
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

    /// What the agent says of itself, and its tools under `tools`, unless it names some itself.
    pub(super) fn capabilities(&self) -> Map {
        let mut capabilities = self.agent.capabilities();
        if !self.tools.is_empty() && !capabilities.contains_key("tools") {
            let tools: Value = self.tools.values().map(|tool| describe(&**tool)).collect();
            capabilities.insert("tools", tools);
        }
        capabilities
    }
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
            .field("agent", &self.agent.name())
            .field("tools", &self.tools.keys().collect::<Vec<_>>())
            .finish()
    }
}
