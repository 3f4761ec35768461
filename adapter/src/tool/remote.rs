//! A tool of a server in another process: [`RemoteTool`].

use agentwire_codec::{Map, ToolResult};

use super::Tool;
use crate::{AgentError, CallOptions, RemoteAgent, RequestContext, ToolDescription};

/// A tool of a server in another process.
///
/// [`RemoteAgent::execute`] needs no such object. As a [`Tool`], a remote tool can have
/// [layers](crate::layer), and a server can offer it as its own.
///
/// ```
/// use agentwire::{
///     LocalAgent, Map, Message, RemoteAgent, RemoteTool, RequestContext, Tool, ToolResult,
///     agent_fn, layer::Timeout, tool_fn,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let now = tool_fn("now", |_: Map| async { Ok(ToolResult::success("noon")) });
/// let server = LocalAgent::builder(echo).tool(now).endpoint("memory://remote-tool").serve().await?;
///
/// let remote = RemoteAgent::new(server.endpoint())?;
/// let now = RemoteTool::new(remote, "now").layer(Timeout::new());
/// let result = now.execute(Map::new(), RequestContext::new()).await?;
/// assert_eq!(result.data, "noon");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RemoteTool {
    remote: RemoteAgent,
    description: ToolDescription,
}

impl RemoteTool {
    /// Creates a tool without a description.
    #[must_use]
    pub fn new(remote: RemoteAgent, name: impl Into<String>) -> Self {
        let description = ToolDescription::new(&name.into(), "", Map::new());
        Self::with_description(remote, description)
    }

    /// Creates a tool with its description, which [`RemoteAgent::describe`] returns.
    #[must_use]
    pub fn with_description(remote: RemoteAgent, description: ToolDescription) -> Self {
        Self {
            remote,
            description,
        }
    }
}

impl Tool for RemoteTool {
    fn name(&self) -> &str {
        &self.description.name
    }

    fn description(&self) -> &str {
        &self.description.description
    }

    fn parameters(&self) -> Map {
        self.description.parameters.clone()
    }

    /// Executes the tool. The call ends at the deadline of `context` at the latest.
    async fn execute(
        &self,
        kwargs: Map,
        context: RequestContext,
    ) -> Result<ToolResult, AgentError> {
        let options = match context.remaining() {
            Some(remaining) => CallOptions::new().total_timeout(remaining),
            None => CallOptions::new(),
        };
        Ok(self
            .remote
            .execute_with(self.name(), kwargs, &options)
            .await?)
    }
}
