//! The handle of a running server: [`LocalAgent`].

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

/// A server for one or more agents on one or more endpoints.
///
/// The server runs until it is stopped or dropped. Dropping the server aborts all requests in
/// flight.
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
/// A program that only serves agents does not need the handle:
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
    /// Declared before `tasks`, so that the registrations are dropped before the sockets are
    /// closed.
    registrations: Arc<Vec<RegistrationHandle>>,
    deregistration_delay: Duration,
    tasks: ServerTasks,
    agents: Arc<Agents>,
}

impl LocalAgent {
    /// Starts a server for an agent on one endpoint, with default settings.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`LocalAgentBuilder::serve`].
    ///
    /// # Panics
    ///
    /// Panics under the same conditions as [`LocalAgentBuilder::serve`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is served and all bound endpoints are released.
    pub async fn serve<E>(agent: impl Agent, endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(agent).endpoint(endpoint).serve().await
    }

    /// Returns a builder for a server with several endpoints or other settings.
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
        let registrations = Arc::new(registrations.start()?);
        #[cfg(feature = "http")]
        if !registrations.is_empty() {
            let registrations = Arc::downgrade(&registrations);
            tasks.readiness().depend_on(registrations);
        }
        Ok(Self {
            registrations,
            deregistration_delay,
            tasks,
            agents,
        })
    }

    /// Returns the first endpoint of the server. If the operating system chose the port, the
    /// endpoint contains the chosen port.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        // The builder requires at least one endpoint.
        &self.endpoints()[0]
    }

    /// Returns all endpoints, in the order in which they were added to the builder.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        self.tasks.endpoints()
    }

    /// Returns the name of the first agent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.agents.first().name()
    }

    /// Returns the published capabilities of the first agent. The map contains the agent's own
    /// [`capabilities`](Agent::capabilities) and the list `tools`. Each element of the list
    /// contains the `name`, the `description` and the `parameters` of a tool.
    #[must_use]
    pub fn capabilities(&self) -> Map {
        self.agents.capabilities()
    }

    /// Returns the registrations, one for each agent at each registered endpoint. The slice is
    /// empty if no [registry](LocalAgentBuilder::registry) is set.
    #[must_use]
    pub fn registrations(&self) -> &[RegistrationHandle] {
        &self.registrations
    }

    /// Stops the server gracefully. The server stops accepting connections and requests, and
    /// answers the requests in flight. Requests that are not answered within the [shutdown
    /// timeout](LocalAgentBuilder::shutdown_timeout) are dropped.
    ///
    /// Registered agents are unregistered first, which takes up to 5 s. The server accepts calls
    /// until the agents are unregistered and the [deregistration
    /// delay](LocalAgentBuilder::deregistration_delay) has passed. Clients that discovered the
    /// agents in the registry therefore lose no calls.
    ///
    /// Returns when all tasks of the server have ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while the agents are being unregistered, the server continues to
    /// serve. If the future is dropped later, the server continues to drain without a timeout. Call
    /// `stop` or [`abort`](Self::abort) to finish the shutdown.
    pub async fn stop(&self) {
        #[cfg(feature = "http")]
        self.tasks.readiness().leave();
        // If unregistering fails, the registration logs the failure, and its lease expires.
        let unregistered = self.registrations.iter().map(|registration| async {
            let was_registered = registration.is_registered();
            registration.unregister().await.is_ok() && was_registered
        });
        if join_all(unregistered).await.contains(&true) {
            // Clients that watch the registry may continue to make calls until they receive the
            // change.
            sleep(self.deregistration_delay).await;
        }
        self.tasks.stop().await;
    }

    /// Stops the server immediately. Requests in flight are dropped, and all connections are
    /// closed.
    ///
    /// Returns when all tasks of the server have ended and its socket files are removed. An agent
    /// that blocks its thread delays the shutdown. The agents are not unregistered, but their
    /// leases expire.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the registrations have ended, the server continues to serve.
    /// If the future is dropped later, the server still stops. To ensure that the server stops,
    /// call `abort` again or drop the server.
    pub async fn abort(&self) {
        self.registrations
            .iter()
            .for_each(RegistrationHandle::abort);
        join_all(self.registrations.iter().map(RegistrationHandle::ended)).await;
        self.tasks.abort().await;
    }

    /// Waits until the server has been stopped or aborted. Returns when all tasks of the server
    /// have ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. It only waits for the server to stop.
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
