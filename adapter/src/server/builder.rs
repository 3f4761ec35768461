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
    outcomes::OutcomeLimits,
};
use crate::{
    Error,
    agent::{Agent, SharedAgent},
    layer::{DynLayer, Layer},
    tool::{DynTool, Tool},
};

/// A builder for a [`LocalAgent`], returned by [`LocalAgent::builder`].
///
/// A server can have several endpoints, which share the agents, the tools and the settings:
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
    trust_authenticated_user: bool,
    trace_replies: bool,
    tools: Vec<Arc<dyn DynTool>>,
    /// The layers from the innermost to the outermost.
    layers: Vec<Arc<dyn DynLayer>>,
    advertisement: Advertisement,
    config: ServerConfig,
    endpoints: Endpoints,
}

impl LocalAgentBuilder {
    pub(super) fn new(agent: impl Agent) -> Self {
        Self {
            agents: vec![SharedAgent::new(agent)],
            strict_names: false,
            trust_authenticated_user: false,
            trace_replies: false,
            tools: Vec::new(),
            layers: Vec::new(),
            advertisement: Advertisement::default(),
            config: ServerConfig::default(),
            endpoints: Endpoints::default(),
        }
    }

    /// Adds another agent to all endpoints of the server. Call this method once for each additional
    /// agent. All agents must have different names.
    ///
    /// If a server has several agents, each call must name an agent. A call without a name or with
    /// an unknown name fails with `AGENT_NOT_FOUND`. The error lists the names of all agents.
    pub fn agent(mut self, agent: impl Agent) -> Self {
        self.agents.push(SharedAgent::new(agent));
        self
    }

    /// Sets whether a single agent only answers calls under its own name. The default is `false`.
    ///
    /// By default, a single agent answers calls under any name and calls without a name, as in
    /// Python. If a [registry](Self::registry) is set, the agent answers calls under its own name
    /// and calls without a name.
    pub fn strict_names(mut self, strict: bool) -> Self {
        self.strict_names = strict;
        self
    }

    /// Sets whether agents see the key `authenticated_user` in the metadata of a message as the
    /// caller has sent it. The default is `false`, because any caller can send any name.
    ///
    /// Use this setting only if all callers are proxies that have authenticated the sender. A
    /// server that authenticates its callers itself always removes the key.
    pub fn trust_authenticated_user(mut self, trust: bool) -> Self {
        self.trust_authenticated_user = trust;
        self
    }

    /// Sets whether replies contain the trace context of their request as `trace_context` in the
    /// metadata, as the tracing middleware of Python's package does. The default is `false`.
    /// Chunks of streams never contain it.
    pub fn trace_replies(mut self, trace: bool) -> Self {
        self.trace_replies = trace;
        self
    }

    /// Sets for how long the outcomes of requests with an idempotency key are kept, and how much
    /// memory they may use. By default, keys are ignored.
    ///
    /// A repeated request with the same key joins the first one, or gets its outcome. Its answer
    /// contains the entry `idempotent_replay` in its metadata, or in the details of an error. The
    /// agent processes the request once, and continues if the caller disconnects. Each caller has
    /// its own keys: a principal, or without authentication a peer. When the memory is used up, the
    /// oldest outcomes are forgotten. A caller with more than half of the memory loses its own ones
    /// first. Outcomes are lost when the server restarts.
    ///
    /// At most 1024 requests with keys are in flight, and they use at most half of the
    /// [memory budget](Self::memory_budget). One principal or remote peer has at most half of
    /// both. Further requests are refused with `AGENT_UNAVAILABLE`.
    ///
    /// `AGENT_UNAVAILABLE` and `RATE_LIMITED` mean that a request was not processed, and are not
    /// kept.
    ///
    /// A repeated streaming request takes the stream over and gets it from its first chunk, as long
    /// as the chunks that have been sent fit into 16 KiB. If its caller disconnects, a stream waits
    /// for a repetition for 10 s.
    ///
    /// See [`RemoteAgentBuilder::idempotent`](crate::RemoteAgentBuilder::idempotent).
    pub fn keep_outcomes(mut self, window: Duration, bytes: usize) -> Self {
        let window = window.min(MAX_TIMEOUT);
        self.config.outcomes = Some(OutcomeLimits { window, bytes });
        self
    }

    /// Shares the [kept outcomes](Self::keep_outcomes) with other servers through Redis, so that a
    /// request is processed once even if it is repeated at another server. By default, each server
    /// keeps its own outcomes.
    ///
    /// A server claims a request in Redis before it processes the request. If the server crashes,
    /// the claim ends after 30 s, and the request may then be processed again. While Redis cannot
    /// be reached, requests with keys are refused with `AGENT_UNAVAILABLE`. The outcomes of streams
    /// are not shared.
    #[cfg(feature = "redis")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis")))]
    pub fn share_outcomes(mut self, outcomes: agentwire_registry::RedisOutcomes) -> Self {
        self.config.shared_outcomes = super::outcomes::SharedOutcomes::through(outcomes);
        self
    }

    /// Adds a tool. Call this method once for each tool. All tools must have different names.
    pub fn tool(mut self, tool: impl Tool) -> Self {
        self.tools.push(Arc::new(tool));
        self
    }

    /// Adds a [layer](crate::layer) around all agents and tools. Call this method once for each
    /// layer. The layer that is added last is the outermost: it sees a request first.
    ///
    /// ```
    /// use agentwire::{
    ///     LocalAgent, Message, agent_fn,
    ///     layer::{ConcurrencyLimit, Timeout},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), agentwire::Error> {
    /// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
    /// let server = LocalAgent::builder(echo)
    ///     .layer(Timeout::new())
    ///     .layer(ConcurrencyLimit::new(32))
    ///     .endpoint("memory://builder-layers")
    ///     .serve()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn layer(mut self, layer: impl Layer) -> Self {
        self.layers.push(Arc::new(layer));
        self
    }

    /// Sets the registry in which the agents are registered. By default, the agents are not
    /// registered. A server registers its agents once they can be called, and unregisters them
    /// before it stops.
    ///
    /// Each agent is registered with its name and its capabilities, once for each endpoint that
    /// other processes can call. Endpoints that other processes cannot call, such as `0.0.0.0`, are
    /// not registered. To register different endpoints, set the [advertised
    /// endpoints](Self::advertised_endpoint). For example, a server that listens on a Unix socket
    /// needs an advertised endpoint for callers on other machines.
    ///
    /// The server starts even if the registry is unreachable. Registering is retried in the
    /// background: see [`LocalAgent::registrations`] and
    /// [`RegistrationHandle`](crate::registry::RegistrationHandle).
    ///
    /// If a registry is set, a single agent refuses calls under other names. A call under another
    /// name is meant for a different agent, which had the same endpoint at the time of the caller's
    /// lookup.
    pub fn registry(mut self, registry: impl Registry) -> Self {
        self.advertisement.registry = Some(SharedRegistry::new(registry));
        self
    }

    /// Adds an endpoint to register instead of the endpoints on which the server listens. Call this
    /// method once for each endpoint.
    ///
    /// If a server listens only on endpoints that other processes cannot call, such as `0.0.0.0`,
    /// an advertised endpoint is required. Port 0 is replaced with the port of the first TCP
    /// endpoint.
    pub fn advertised_endpoint<E>(mut self, endpoint: E) -> Self
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint.try_into().map_err(TransportError::from);
        self.advertisement.endpoints.push(endpoint);
        self
    }

    /// Sets the version in the registrations and the
    /// [descriptions](crate::RemoteAgent::describe) of the agents. By default, there is no version.
    pub fn version(mut self, version: Version) -> Self {
        self.advertisement.version = Some(version);
        self
    }

    /// Adds an entry to the metadata in the registrations and the
    /// [descriptions](crate::RemoteAgent::describe) of the agents. By default, there is none.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.advertisement.metadata.insert(key, value);
        self
    }

    /// Sets how long [`LocalAgent::stop`] continues to serve after it has unregistered the agents.
    /// The default is 250 ms. The delay gives clients time to receive the change. There is no delay
    /// if no agent was registered or could be unregistered.
    pub fn deregistration_delay(mut self, delay: Duration) -> Self {
        self.advertisement.deregistration_delay = delay.min(MAX_TIMEOUT);
        self
    }

    server_settings! {
        /// The default is 1024.
        max_connections;
        frame_limits;
        idle_timeout;
        /// Sets the timeout for an answer of an agent or a tool, or for each chunk of a stream. By
        /// default, there is no timeout. When the timeout expires, the request is cancelled and the
        /// caller receives `AGENT_TIMEOUT`.
        ///
        /// The timeout is not paused while the peer does not read its answers. An agent that blocks
        /// its thread cannot be interrupted.
        handler_timeout;
        shutdown_timeout;
    }

    /// Returns a tower service that answers requests over HTTP, for a server of this program: see
    /// [`http::service`](crate::http::service). Endpoints and the registry of the builder have no
    /// meaning for the service.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidSetting`] if a setting is out of range.
    #[cfg(feature = "http")]
    pub fn http_service(self) -> Result<crate::http::HttpService, Error> {
        let (agents, unstarted) = self.into_agents()?;
        crate::http::HttpService::new(Arc::new(agents), unstarted.config)
    }

    /// Binds all endpoints and starts serving. If an endpoint cannot be bound, no endpoint is
    /// served.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if an endpoint is not valid, and
    /// [`Error::InvalidSetting`] if a setting is out of range or there is no endpoint. Returns
    /// [`Error::Listen`] if an endpoint is in use or cannot be bound, and [`Error::Register`] if
    /// the registration of an agent is not valid.
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is served and all bound endpoints are released.
    pub async fn serve(self) -> Result<LocalAgent, Error> {
        self.config.check()?;
        let (agents, unstarted) = self.into_agents()?;
        let bound = unstarted.endpoints.bind(&unstarted.config).await?;
        LocalAgent::start(bound, agents, unstarted.advertisement, unstarted.config)
    }

    /// Returns the agents and tools, and everything else.
    fn into_agents(self) -> Result<(Agents, Unstarted), Error> {
        let names = if self.strict_names {
            NamePolicy::Own
        } else if self.advertisement.registry.is_some() {
            NamePolicy::OwnOrNone
        } else {
            NamePolicy::Any
        };
        let limit = self.config.handler_timeout;
        let Advertisement {
            version, metadata, ..
        } = &self.advertisement;
        let (mut agents, mut tools) = (self.agents, self.tools);
        for layer in self.layers {
            let wrap = |agent| Arc::clone(&layer).agent(agent);
            agents = agents.into_iter().map(wrap).collect();
            let wrap = |tool| Arc::clone(&layer).tool(tool);
            tools = tools.into_iter().map(wrap).collect();
        }
        let agents = Agents::new(agents, names, tools, limit)?
            .described_by(version.clone(), metadata.clone())
            .trusting_callers(self.trust_authenticated_user)
            .tracing_replies(self.trace_replies)
            .observed_by(&self.config.observers);
        let unstarted = Unstarted {
            endpoints: self.endpoints,
            advertisement: self.advertisement,
            config: self.config,
        };
        Ok((agents, unstarted))
    }
}

/// The parts of a server around its agents, before it is started.
struct Unstarted {
    endpoints: Endpoints,
    advertisement: Advertisement,
    config: ServerConfig,
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
