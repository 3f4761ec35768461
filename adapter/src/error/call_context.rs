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
    /// Where it was called; `None` for a discovered agent of which no instance was chosen.
    pub endpoint: Option<Endpoint>,
    /// The request, once it had an id.
    pub request_id: Option<RequestId>,
}

impl fmt::Display for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tool) = &self.tool {
            write!(f, "tool {tool:?} of ")?;
        }
        f.write_str("agent")?;
        if !self.agent.is_empty() {
            write!(f, " {:?}", self.agent)?;
        }
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        match &self.request_id {
            Some(id) => write!(f, " (request {id})"),
            None => Ok(()),
        }
    }
}
