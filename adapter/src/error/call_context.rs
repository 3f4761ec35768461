//! The call to which an error belongs.

use std::fmt;

use agentwire_codec::RequestId;
use agentwire_transport::{Endpoint, internal::Untrusted};

/// The agent, the endpoint and the request of a call.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{Message, RemoteAgent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentwire::Result<()> {
/// let remote = RemoteAgent::builder("memory://nowhere").name("weather").timeout(Duration::ZERO).build()?;
/// let error = remote.process(Message::user("hello")).await.unwrap_err();
/// let context = error.context().expect("a call failed");
/// assert_eq!(context.agent, "weather");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallContext {
    /// The name by which the agent was called, or an empty string if the client sends no name.
    pub agent: String,
    /// The name of the tool, if one was called.
    pub tool: Option<String>,
    /// The endpoint that was called, or `None` if a client that discovers the agent has not chosen
    /// an instance.
    pub endpoint: Option<Endpoint>,
    /// The id of the request, or `None` if the message could not be encoded.
    pub request_id: Option<RequestId>,
}

/// Prints, for example, `tool "forecast" of agent "weather" at tcp://10.0.0.7:80 (request 4f0c…)`.
impl fmt::Display for CallContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_names(f)?;
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {}", Untrusted(endpoint))?;
        }
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl CallContext {
    /// Displays the names of the tool and the agent.
    pub(super) fn fmt_names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tool) = &self.tool {
            write!(f, "tool {:?} of ", Untrusted(tool))?;
        }
        f.write_str("agent")?;
        if !self.agent.is_empty() {
            write!(f, " {:?}", Untrusted(&self.agent))?;
        }
        Ok(())
    }
}
