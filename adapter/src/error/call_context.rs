use std::fmt;

use agentwire_codec::RequestId;
use agentwire_transport::Endpoint;

/// Where a call went: for people who read the error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallContext {
    /// The name that the agent was called by. Empty if none.
    pub agent: String,
    /// The name of the tool, if one was to be run.
    pub tool: Option<String>,
    /// Where it was called. Of an agent that is called by name, before an instance was chosen, this is a custom
    /// endpoint that says so.
    pub endpoint: Endpoint,
    /// The request, once it had an id.
    pub request_id: Option<RequestId>,
}

impl fmt::Display for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tool) = &self.tool {
            write!(f, "tool {tool:?} of ")?;
        }
        if self.agent.is_empty() {
            write!(f, "agent at {}", self.endpoint)?;
        } else {
            write!(f, "agent {:?} at {}", self.agent, self.endpoint)?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}
