use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::Map;
use agentwire_registry::RegistrationHandle;
use agentwire_transport::{Endpoint, Error as TransportError, Listener};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::{
    LocalAgentBuilder, advertisement::Advertisement, agents::Agents, config::Config,
    serving::Serving,
};
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
    /// Before the server: in the end, nobody should be sent to one that is no more.
    registrations: Vec<RegistrationHandle>,
    notice: Duration,
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

    pub(super) fn start(
        listener: Listener,
        agents: Agents,
        advertisement: Advertisement,
        config: Config,
    ) -> Result<Self, Error> {
        let notice = advertisement.notice;
        let registrations = advertisement.registrations(&agents, listener.endpoint())?;
        let agents = Arc::new(agents);
        tracing::debug!(endpoint = %listener.endpoint(), agent = agents.first().name(), "serving");
        let serving = Serving::start(listener, Arc::clone(&agents) as _, config);
        Ok(Self {
            registrations: registrations.start()?,
            notice,
            serving,
            agents,
        })
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

    /// What keeps the agents registered, one for each; none without a [registry](LocalAgentBuilder::registry).
    #[must_use]
    pub fn registrations(&self) -> &[RegistrationHandle] {
        &self.registrations
    }

    /// Stops gracefully: no more connections and requests are accepted, those in flight are answered. What
    /// is not answered within the [shutdown timeout](LocalAgentBuilder::shutdown_timeout) is dropped.
    ///
    /// Where the agents are registered, they are taken out first, within 5 s, and calls are still accepted meanwhile
    /// and for the [notice](LocalAgentBuilder::deregistration_delay) after that. So clients that find them there lose no call.
    ///
    /// It returns when all is done: no task is left, and no socket file.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server keeps draining, without a limit in time, or serving, if it did not come to
    /// that; call this or [`abort`](Self::abort) again.
    pub async fn stop(&self) {
        // What fails is known to the registrations, and the lease ends by itself.
        let leaving = self.registrations.iter().map(|registrant| async {
            let was_registered = registrant.is_registered();
            registrant.unregister().await.is_ok() && was_registered
        });
        if join_all(leaving).await.contains(&true) {
            // Those who watch hear of it just now, and may be calling.
            sleep(self.notice).await;
        }
        self.serving.stop().await;
    }

    /// Stops at once: drops what is in flight and closes all connections.
    ///
    /// It returns when all is done. An agent that blocks its thread holds this up. Registries are told nothing, so
    /// that the leases of the agents run out.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server stops all the same.
    pub async fn abort(&self) {
        self.registrations
            .iter()
            .for_each(RegistrationHandle::abort);
        join_all(self.registrations.iter().map(RegistrationHandle::ended)).await;
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
