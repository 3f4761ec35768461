use std::{fmt, sync::Arc};

use agentwire_codec::Map;
use agentwire_transport::{Endpoint, Error as TransportError, Listener};

use super::{LocalAgentBuilder, agents::Agents, config::Config, serving::Serving};
use crate::{Error, agent::Agent};

/// An agent that is being served on an endpoint.
///
/// It serves from the moment it is made until it is stopped. Dropping it aborts what is in flight.
///
/// ```
/// use agentwire::{LocalAgent, Message, RemoteAgent, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(Message::agent(message.content)) });
/// let server = LocalAgent::serve(echo, "memory://local-agent-page").await?;
///
/// let reply = RemoteAgent::new(server.endpoint())?.process(Message::user("hello")).await?;
/// assert_eq!(reply.text(), Some("hello"));
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct LocalAgent {
    serving: Serving,
    agents: Arc<Agents>,
}

impl LocalAgent {
    /// Serves an agent with default settings.
    ///
    /// # Errors
    ///
    /// As [`LocalAgentBuilder::serve`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn serve<E>(agent: impl Agent, endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(agent).serve(endpoint).await
    }

    /// Settings for serving an agent.
    pub fn builder(agent: impl Agent) -> LocalAgentBuilder {
        LocalAgentBuilder::new(agent)
    }

    pub(super) fn start(listener: Listener, agents: Agents, config: Config) -> Self {
        let agents = Arc::new(agents);
        tracing::debug!(endpoint = %listener.endpoint(), agent = agents.first().name(), "serving");
        Self {
            serving: Serving::start(listener, Arc::clone(&agents) as _, config),
            agents,
        }
    }

    /// Where it serves: the real port if the system chose one.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.serving.endpoint()
    }

    /// The name of the agent; of several, that of the first.
    #[must_use]
    pub fn name(&self) -> &str {
        self.agents.first().name()
    }

    /// What it offers, as a registration tells others: what the agent says of itself, and the tools under
    /// `tools`, each with its `name`, its `description` and its `parameters`.
    #[must_use]
    pub fn capabilities(&self) -> Map {
        self.agents.capabilities()
    }

    /// Stops gracefully: no more connections and requests are accepted, those in flight are answered. What
    /// is not answered within the [grace](LocalAgentBuilder::grace) is dropped.
    ///
    /// It returns when all is done: no task is left, and no socket file.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server keeps draining, without a limit in time; call this or
    /// [`abort`](Self::abort) again.
    pub async fn stop(&self) {
        self.serving.stop().await;
    }

    /// Stops at once: drops what is in flight and closes all connections.
    ///
    /// It returns when all is done. An agent that blocks its thread holds this up.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server stops all the same.
    pub async fn abort(&self) {
        self.serving.abort().await;
    }
}

impl fmt::Debug for LocalAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAgent")
            .field("endpoint", self.endpoint())
            .field("agent", &self.agents.first().name())
            .finish_non_exhaustive()
    }
}
