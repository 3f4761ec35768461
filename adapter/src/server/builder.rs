//! The builder of a [`LocalAgent`].

use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::Value;
use agentwire_registry::{Registry, SharedRegistry, Version};
use agentwire_transport::{Endpoint, Error as TransportError, internal::MAX_TIMEOUT};

use super::{
    LocalAgent,
    advertisement::Advertisement,
    agents::{Agents, NamePolicy},
    config::{ServerConfig, server_settings},
    endpoints::Endpoints,
};
use crate::{
    Error,
    agent::{Agent, SharedAgent},
    tool::{DynTool, Tool},
};

/// Settings of a [`LocalAgent`], made by [`LocalAgent::builder`].
///
/// One server may serve several endpoints, which share its agents, its tools and its settings:
///
/// ```
/// use agentwire::{LocalAgent, Message, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let server = LocalAgent::builder(echo)
///     .endpoint("memory://builder-page")
///     .endpoint("tcp://127.0.0.1:0")
///     .serve()
///     .await?;
/// assert_eq!(server.endpoints().len(), 2);
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct LocalAgentBuilder {
    agents: Vec<SharedAgent>,
    strict_names: bool,
    tools: Vec<Arc<dyn DynTool>>,
    advertisement: Advertisement,
    config: ServerConfig,
    endpoints: Endpoints,
}

impl LocalAgentBuilder {
    pub(super) fn new(agent: impl Agent) -> Self {
        Self {
            agents: vec![SharedAgent::new(agent)],
            strict_names: false,
            tools: Vec::new(),
            advertisement: Advertisement::default(),
            config: ServerConfig::default(),
            endpoints: Endpoints::default(),
        }
    }

    /// Serves another agent on the same endpoints. Call it again for each further agent; their
    /// names must differ.
    ///
    /// With several agents, callers must name the one that they call. A call without a name, or
    /// with an unknown one, fails with `AGENT_NOT_FOUND` and the list of the agents.
    pub fn agent(mut self, agent: impl Agent) -> Self {
        self.agents.push(SharedAgent::new(agent));
        self
    }

    /// Sets whether a single agent answers only calls that name it. Default: no. It then answers
    /// calls by any name and without a name, as in Python; with a [registry](Self::registry), calls
    /// by its own name and without a name.
    pub fn strict_names(mut self, strict: bool) -> Self {
        self.strict_names = strict;
        self
    }

    /// Offers a tool beside the agent. Call it again for each further tool; their names must
    /// differ.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Registers the agents once they can be called, keeps them registered, and unregisters them
    /// before the server stops. Default: no registry.
    ///
    /// Each agent is registered under its name, with [`LocalAgent::capabilities`], once for each
    /// endpoint that others can call, so that callers can choose among them. An endpoint that they
    /// cannot call, such as `0.0.0.0`, is left out. To choose what is registered, for example if
    /// callers on other machines find the agent in the registry and a Unix socket is among the
    /// endpoints, set the [advertised endpoint](Self::advertised_endpoint).
    ///
    /// A registry that is unreachable does not keep the server from starting. Registering is
    /// retried in the background; see [`LocalAgent::registrations`] and
    /// [`RegistrationHandle`](crate::registry::RegistrationHandle).
    ///
    /// With a registry, a single agent rejects calls by any name but its own, because one of its
    /// endpoints may have belonged to a different agent when the caller looked it up.
    pub fn registry(mut self, registry: impl Registry) -> Self {
        self.advertisement.registry = Some(SharedRegistry::new(registry));
        self
    }

    /// Registers this endpoint in place of those that the server listens on. Call it again for each
    /// further endpoint.
    ///
    /// It must be set if the server listens only on endpoints that others cannot call, such as
    /// `0.0.0.0`. Port 0 stands for the port of the first TCP endpoint.
    pub fn advertised_endpoint<E>(mut self, endpoint: E) -> Self
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(TransportError::from);
        self.advertisement.endpoints.push(endpoint);
        self
    }

    /// Sets the version of the agents, for the registry. Default: none.
    pub fn version(mut self, version: Version) -> Self {
        self.advertisement.version = Some(version);
        self
    }

    /// Adds an entry to the metadata of the agents, for the registry. Default: none.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.advertisement.metadata.insert(key, value);
        self
    }

    /// Sets how long [`LocalAgent::stop`] continues to serve after it has unregistered the agents,
    /// so that clients learn of it before calls are refused. Default: 250 ms. There is no delay if
    /// no agent was registered, or none could be unregistered.
    pub fn deregistration_delay(mut self, delay: Duration) -> Self {
        self.advertisement.deregistration_delay = delay.min(MAX_TIMEOUT);
        self
    }

    server_settings! {
        /// Default: 1024.
        max_connections;
        frame_limits;
        idle_timeout;
        /// Limits how long an agent or a tool may take for its answer, or for each chunk of a
        /// stream. Default: no limit. The work is then dropped and the caller gets
        /// `AGENT_TIMEOUT`.
        ///
        /// The time includes waiting for a peer that does not read its answers. An agent that
        /// blocks its thread cannot be interrupted.
        handler_timeout;
        shutdown_timeout;
    }

    /// Binds all endpoints and starts to serve. If one of them cannot be bound, none is served.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::InvalidSetting`] also if there is no endpoint,
    /// [`Error::Listen`] if an endpoint is in use or cannot be bound, and [`Error::Register`] for
    /// agents that no registry accepts.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future serves nothing and releases what was bound.
    pub async fn serve(self) -> Result<LocalAgent, Error> {
        self.config.check()?;
        let names = if self.strict_names {
            NamePolicy::Own
        } else if self.advertisement.registry.is_some() {
            NamePolicy::OwnOrNone
        } else {
            NamePolicy::Any
        };
        let limit = self.config.handler_timeout;
        let agents = Agents::new(self.agents, names, self.tools, limit)?;
        let bound = self.endpoints.bind().await?;
        LocalAgent::start(bound, agents, self.advertisement, self.config)
    }
}

impl fmt::Debug for LocalAgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools: Vec<_> = self.tools.iter().map(|tool| tool.name()).collect();
        f.debug_struct("LocalAgentBuilder")
            .field("agents", &self.agents)
            .field("tools", &tools)
            .field("endpoints", &self.endpoints)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
