//! Which call an error is about.

use std::fmt;

use agentwire_codec::RequestId;
use agentwire_transport::Endpoint;

/// Which agent was called, where, and in which request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallContext {
    /// The name that the agent was called by. Empty if the client has none.
    pub agent: String,
    /// The name of the tool, if one was called.
    pub tool: Option<String>,
    /// The endpoint. `None` if the agent is called by name and no instance was chosen.
    pub endpoint: Option<Endpoint>,
    /// The id of the request. `None` if the message could not be encoded.
    pub request_id: Option<RequestId>,
}

/// Reads `tool "forecast" of agent "weather" at tcp://10.0.0.7:80 (request 4f0c…)`.
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
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}
