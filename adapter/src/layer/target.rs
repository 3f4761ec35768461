//! What a layer wraps, for its errors and for state that each agent has for itself.

use std::fmt;

use crate::{Agent, Tool};

/// The agent or the tool that a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Target<'a> {
    pub(super) kind: Kind,
    pub(super) name: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Agent,
    Tool,
}

impl<'a> Target<'a> {
    pub(super) fn agent(agent: &'a impl Agent) -> Self {
        Self {
            kind: Kind::Agent,
            name: agent.name(),
        }
    }

    pub(super) fn tool(tool: &'a impl Tool) -> Self {
        Self {
            kind: Kind::Tool,
            name: tool.name(),
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Agent => "agent",
            Kind::Tool => "tool",
        };
        write!(f, "{kind} {:?}", self.name)
    }
}

/// A value for each agent and each tool. The names come from the agents and tools that a layer
/// wraps, and never from a request, so there are only a few.
#[derive(Debug)]
pub(super) struct ByTarget<T> {
    /// Sorted by name.
    agents: Vec<(Box<str>, T)>,
    tools: Vec<(Box<str>, T)>,
}

impl<T: Default> ByTarget<T> {
    /// Returns the value of a target, if there is one.
    pub(super) fn find(&self, target: Target<'_>) -> Option<&T> {
        let values = match target.kind {
            Kind::Agent => &self.agents,
            Kind::Tool => &self.tools,
        };
        let mut values = values.iter();
        let (_, value) = values.find(|(name, _)| **name == *target.name)?;
        Some(value)
    }

    /// Returns the value of a target, which is created if there is none.
    pub(super) fn of(&mut self, target: Target<'_>) -> &mut T {
        let values = match target.kind {
            Kind::Agent => &mut self.agents,
            Kind::Tool => &mut self.tools,
        };
        let found = values.binary_search_by(|(name, _)| (**name).cmp(target.name));
        let index = found.unwrap_or_else(|index| {
            values.insert(index, (target.name.into(), T::default()));
            index
        });
        &mut values[index].1
    }
}

impl<T> Default for ByTarget<T> {
    fn default() -> Self {
        Self {
            agents: Vec::new(),
            tools: Vec::new(),
        }
    }
}
