use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::{FrameLimits, Value};
use agentwire_registry::{Registry, SharedRegistry, Version};
use agentwire_transport::{Endpoint, Error as TransportError, Listener, internal::MAX_TIMEOUT};

use super::{
    LocalAgent,
    advertisement::Advertisement,
    agents::{Agents, Names},
};
use crate::{
    Error,
    agent::{Agent, SharedAgent},
    tool::{DynTool, Tool},
};

/// How a [`LocalAgent`] serves. Made by [`LocalAgent::builder`].
#[must_use]
pub struct LocalAgentBuilder {
    agents: Vec<SharedAgent>,
    strict_names: bool,
    tools: Vec<Arc<dyn DynTool>>,
    advertisement: Advertisement,
    config: Config,
}

#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) max_connections: usize,
    pub(crate) max_in_flight: usize,
    pub(crate) frame_limits: FrameLimits,
    pub(crate) idle_timeout: Duration,
    pub(crate) frame_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) handler_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_in_flight: 64,
            frame_limits: FrameLimits::default(),
            idle_timeout: Duration::from_secs(60),
            frame_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(30),
            handler_timeout: None,
        }
    }
}

impl Config {
    /// # Errors
    ///
    /// [`Error::InvalidSetting`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let positive = |setting, number| match number {
            0 => Err(Error::InvalidSetting {
                setting,
                problem: "must be at least 1",
            }),
            _ => Ok(()),
        };
        positive("max_connections", self.max_connections)?;
        positive("max_in_flight_per_connection", self.max_in_flight)
    }
}

impl LocalAgentBuilder {
    pub(super) fn new(agent: impl Agent) -> Self {
        Self {
            agents: vec![SharedAgent::new(agent)],
            strict_names: false,
            tools: Vec::new(),
            advertisement: Advertisement::default(),
            config: Config::default(),
        }
    }

    /// Serves another agent on the same endpoint. Call it again for each further one; their names must differ.
    ///
    /// With several agents, callers must name the one that they mean. Without a name, or with another, they are
    /// told `AGENT_NOT_FOUND` and which agents there are.
    pub fn agent(mut self, agent: impl Agent) -> Self {
        self.agents.push(SharedAgent::new(agent));
        self
    }

    /// Whether a single agent answers to its own name alone. Default: no, it answers to whatever name it is
    /// called by, and to none, as in Python; with a [registry](Self::registry), to its own name and to none.
    pub fn strict_names(mut self, strict: bool) -> Self {
        self.strict_names = strict;
        self
    }

    /// Offers a tool beside the agent. Call it again for each further one; their names must differ.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Registers the agents once they can be called, keeps them registered, and takes them out before the server
    /// stops. Default: none.
    ///
    /// Each agent is registered by its name with what [`LocalAgent::capabilities`] says. A registry that is out of
    /// reach holds nothing up: it is tried again, as a [`RegistrationHandle`](crate::registry::RegistrationHandle) does, and
    /// [`LocalAgent::registrations`] tell how it goes.
    ///
    /// A single agent then does not answer to the names of others, as it would otherwise: a caller may have found
    /// another one at this endpoint, which has ended since.
    pub fn registry(mut self, registry: impl Registry) -> Self {
        self.advertisement.registry = Some(SharedRegistry::new(registry));
        self
    }

    /// Where others call the server, for the registry. Default: where it listens, which must be set otherwise where that
    /// is an address such as `0.0.0.0`. Port 0 stands for the port that the system chose.
    pub fn advertised_endpoint<E>(mut self, endpoint: E) -> Self
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(TransportError::from);
        self.advertisement.endpoint = Some(endpoint);
        self
    }

    /// The version of the agents, for the registry. Default: none.
    pub fn version(mut self, version: Version) -> Self {
        self.advertisement.version = Some(version);
        self
    }

    /// Adds one entry to what the registry tells of the agents. Default: nothing.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.advertisement.metadata.insert(key, value);
        self
    }

    /// How long [`LocalAgent::stop`] goes on serving after the agents are out of the registry, so that clients hear of
    /// it before they would be refused. Default: 250 ms. There is no such time if they were not in one, or could not
    /// be taken out.
    pub fn deregistration_delay(mut self, notice: Duration) -> Self {
        self.advertisement.notice = notice.min(MAX_TIMEOUT);
        self
    }

    /// How many connections are open at most. Default: 1024. At the limit no more are accepted; they
    /// wait in the system's queue.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// How many requests of one connection are worked on at the same time. Default: 64. At the limit no
    /// more are read.
    pub fn max_in_flight_per_connection(mut self, requests: usize) -> Self {
        self.config.max_in_flight = requests;
        self
    }

    /// How large frames may be. Default: 10 MiB each way. A larger request is answered with an error and its
    /// connection closed; a larger answer is replaced by an error.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.config.frame_limits = limits;
        self
    }

    /// After how long a connection without a request is closed. Default: 60 s, as in Python.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_timeout = timeout;
        self
    }

    /// How long a frame that has begun may take to arrive. Default: 60 s. Then the connection is closed.
    pub fn frame_timeout(mut self, timeout: Duration) -> Self {
        self.config.frame_timeout = timeout;
        self
    }

    /// How long a peer may take no bytes of an answer that waits for it. Default: 60 s. Then the connection
    /// is closed.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.config.write_timeout = timeout;
        self
    }

    /// How long an agent or a tool may take for its answer; for a stream, from chunk to chunk. Default: no limit.
    /// Then the work is dropped, and the caller is told `AGENT_TIMEOUT`. The time counts in which a peer that does
    /// not take its answers holds the work up. An agent that blocks its thread cannot be stopped so.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.config.handler_timeout = Some(timeout.min(MAX_TIMEOUT));
        self
    }

    /// How long [`LocalAgent::stop`] waits for requests in flight. Default: 30 s. Then they are dropped.
    pub fn shutdown_timeout(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// Starts to serve on an endpoint: `unix:///path`, `tcp://host:port`, `memory://name`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::InvalidSetting`], [`Error::Listen`] if the endpoint is in use
    /// or cannot be had, or [`Error::Register`] for agents that no registry takes.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn serve<E>(self, endpoint: E) -> Result<LocalAgent, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint
            .try_into()
            .map_err(|error| Error::InvalidEndpoint(TransportError::from(error)))?;
        let (agents, advertisement, config) = self.into_parts()?;
        let listener = Listener::bind(&endpoint).await.map_err(Error::Listen)?;
        LocalAgent::start(listener, agents, advertisement, config)
    }

    /// Starts to serve on a listener, which may be of a transport of your own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`], or [`Error::Register`] for agents that no registry takes.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn serve_on(self, listener: Listener) -> Result<LocalAgent, Error> {
        let (agents, advertisement, config) = self.into_parts()?;
        LocalAgent::start(listener, agents, advertisement, config)
    }

    fn into_parts(self) -> Result<(Agents, Advertisement, Config), Error> {
        self.config.check()?;
        let limit = self.config.handler_timeout;
        let names = match self.advertisement.registry {
            _ if self.strict_names => Names::Own,
            Some(_) => Names::OwnOrNone,
            None => Names::Any,
        };
        let agents = Agents::new(self.agents, names, self.tools, limit)?;
        Ok((agents, self.advertisement, self.config))
    }
}

impl fmt::Debug for LocalAgentBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tools: Vec<_> = self.tools.iter().map(|tool| tool.name()).collect();
        f.debug_struct("LocalAgentBuilder")
            .field("agents", &self.agents)
            .field("tools", &tools)
            .field("config", &self.config)
            .finish()
    }
}
