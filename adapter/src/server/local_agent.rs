//! The handle of a running server of agents.

use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::Map;
use agentwire_registry::RegistrationHandle;
use agentwire_transport::{Endpoint, Error as TransportError};
use futures_util::future::join_all;
use tokio::time::sleep;

use super::{
    LocalAgentBuilder, advertisement::Advertisement, agents::Agents, carrier::Bound,
    config::ServerConfig, tasks::ServerTasks,
};
use crate::{Error, agent::Agent};

/// An agent that is served on one or more endpoints.
///
/// It serves from its creation until it is stopped. Dropping it aborts what is in flight.
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
///
/// A program that only serves needs no handle:
///
/// ```no_run
/// # use agentwire::{LocalAgent, Message, agent_fn};
/// # async fn example() -> Result<(), agentwire::Error> {
/// # let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// LocalAgent::builder(echo)
///     .endpoint("unix:///run/agents/echo.sock")
///     .endpoint("tcp://0.0.0.0:7000")
///     .serve_until(tokio::signal::ctrl_c())
///     .await
/// # }
/// ```
pub struct LocalAgent {
    /// Declared before `tasks` so that it drops first: the agents are unregistered before the
    /// sockets close.
    registrations: Vec<RegistrationHandle>,
    deregistration_delay: Duration,
    tasks: ServerTasks,
    agents: Arc<Agents>,
}

impl LocalAgent {
    /// Serves an agent on one endpoint, with default settings.
    ///
    /// # Errors
    ///
    /// As [`LocalAgentBuilder::serve`].
    ///
    /// # Panics
    ///
    /// As [`LocalAgentBuilder::serve`].
    ///
    /// # Cancel safety
    ///
    /// As [`LocalAgentBuilder::serve`].
    pub async fn serve<E>(agent: impl Agent, endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(agent).endpoint(endpoint).serve().await
    }

    /// Returns a builder, for several endpoints and other settings.
    pub fn builder(agent: impl Agent) -> LocalAgentBuilder {
        LocalAgentBuilder::new(agent)
    }

    pub(super) fn start(
        bound: Vec<Bound>,
        agents: Agents,
        advertisement: Advertisement,
        config: ServerConfig,
    ) -> Result<Self, Error> {
        let deregistration_delay = advertisement.deregistration_delay;
        let endpoints: Vec<_> = bound.iter().map(Bound::endpoint).collect();
        let registrations = advertisement.registrations(&agents, &endpoints)?;
        let agents = Arc::new(agents);
        let tasks = ServerTasks::start(bound, Arc::clone(&agents) as _, config);
        for endpoint in tasks.endpoints() {
            tracing::debug!(%endpoint, agent = agents.first().name(), "serving");
        }
        Ok(Self {
            registrations: registrations.start()?,
            deregistration_delay,
            tasks,
            agents,
        })
    }

    /// Returns the endpoint, with the real port if the system chose one. Of several, it is the
    /// first.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        // There is at least one.
        &self.endpoints()[0]
    }

    /// Returns all endpoints, in the order in which the builder got them.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        self.tasks.endpoints()
    }

    /// Returns the name of the agent. Of several, it is the first.
    #[must_use]
    pub fn name(&self) -> &str {
        self.agents.first().name()
    }

    /// Returns what a registration says that the agent can do: its
    /// [`capabilities`](Agent::capabilities), and the tools under `tools`, each with its `name`,
    /// `description` and `parameters`.
    #[must_use]
    pub fn capabilities(&self) -> Map {
        self.agents.capabilities()
    }

    /// Returns the registrations, one for each agent at each registered endpoint. There are none
    /// without a [registry](LocalAgentBuilder::registry).
    #[must_use]
    pub fn registrations(&self) -> &[RegistrationHandle] {
        &self.registrations
    }

    /// Stops gracefully: takes no further connections and requests, and answers those in flight.
    /// What is not answered within the [shutdown timeout](LocalAgentBuilder::shutdown_timeout) is
    /// dropped.
    ///
    /// Registered agents are unregistered first, within 5 s. Calls are still accepted until then,
    /// and for the [deregistration delay](LocalAgentBuilder::deregistration_delay) after that, so
    /// clients that found the agents in the registry lose no call.
    ///
    /// Returns when no task and no socket file is left.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while the agents are being unregistered, the server continues to
    /// serve; if it is dropped later, the server continues to drain, without a time limit. Call
    /// this or [`abort`](Self::abort) again.
    pub async fn stop(&self) {
        // A failure is logged by the registration, whose lease then expires.
        let unregistered = self.registrations.iter().map(|registration| async {
            let was_registered = registration.is_registered();
            registration.unregister().await.is_ok() && was_registered
        });
        if join_all(unregistered).await.contains(&true) {
            // Clients that watch the registry are being told, and may be calling meanwhile.
            sleep(self.deregistration_delay).await;
        }
        self.tasks.stop().await;
    }

    /// Stops at once: drops what is in flight and closes all connections.
    ///
    /// Returns when no task and no socket file is left. An agent that blocks its thread delays
    /// that. The agents are not unregistered; their leases expire.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the registrations have ended, the server continues to serve;
    /// if it is dropped later, the server stops all the same. Call this again, or drop the server.
    pub async fn abort(&self) {
        self.registrations
            .iter()
            .for_each(RegistrationHandle::abort);
        join_all(self.registrations.iter().map(RegistrationHandle::ended)).await;
        self.tasks.abort().await;
    }

    /// Waits until the server has been stopped or aborted, by whichever task, and no task and no
    /// socket file is left.
    ///
    /// # Cancel safety
    ///
    /// Safe: the future only waits.
    pub async fn stopped(&self) {
        self.tasks.stopped().await;
    }
}

impl fmt::Debug for LocalAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAgent")
            .field("endpoints", &self.endpoints())
            .field("agent", &self.agents.first().name())
            .finish_non_exhaustive()
    }
}
