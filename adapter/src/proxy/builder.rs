//! The builder of a [`Proxy`].

use std::{fmt, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{Proxy, ProxyTarget, service::ProxyService};
use crate::{
    Error,
    server::{Endpoints, ServerConfig, ServerTasks, server_settings},
};

/// A builder for a [`Proxy`], returned by [`Proxy::builder`].
///
/// ```
/// use agentwire::{LocalAgent, Message, Proxy, RemoteAgent, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let server = LocalAgent::serve(echo, "memory://behind-a-proxy").await?;
/// let proxy = Proxy::builder(RemoteAgent::builder(server.endpoint()).max_connections(8))
///     .endpoint("memory://proxy-builder-page")
///     .serve()
///     .await?;
///
/// let reply = RemoteAgent::new(proxy.endpoint())?.process(Message::user("hello")).await?;
/// assert_eq!(reply.text(), Some("hello"));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ProxyBuilder {
    target: ProxyTarget,
    config: ServerConfig,
    endpoints: Endpoints,
}

impl ProxyBuilder {
    pub(super) fn new(target: ProxyTarget) -> Self {
        Self {
            target,
            config: ServerConfig::default(),
            endpoints: Endpoints::default(),
        }
    }

    server_settings! {
        /// The default is 1024.
        max_connections;
        /// The limits apply to frames that are exchanged with callers. For frames that are
        /// exchanged with the target, set
        /// [`RemoteAgentBuilder::frame_limits`](crate::RemoteAgentBuilder::frame_limits).
        frame_limits;
        idle_timeout;
        /// Sets the timeout for an answer of the target, or for each chunk of a stream. By default,
        /// only the target's [timeout](crate::RemoteAgentBuilder::timeout) applies. If both
        /// timeouts are set, the shorter one applies.
        handler_timeout;
        /// Watches are ended immediately.
        shutdown_timeout;
    }

    /// Binds all endpoints and starts forwarding requests. If an endpoint cannot be bound, no
    /// endpoint is served. The proxy connects to the target on the first request.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if the target or an endpoint is not valid, and
    /// [`Error::InvalidSetting`] if a setting is out of range or there is no endpoint. Returns
    /// [`Error::Listen`] if an endpoint is in use or cannot be bound.
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is served and all bound endpoints are released.
    pub async fn serve(self) -> Result<Proxy, Error> {
        self.config.check()?;
        let target = match self.config.handler_timeout {
            Some(timeout) => self.target.timeout_at_most(timeout),
            None => self.target,
        };
        let drain = CancellationToken::new();
        let service = ProxyService::new(target.forwarder()?, drain.clone());
        let bound = self.endpoints.bind(&self.config).await?;
        let tasks = ServerTasks::start(bound, Arc::new(service), self.config);
        for endpoint in tasks.endpoints() {
            tracing::debug!(%endpoint, "serving a proxy");
        }
        Ok(Proxy { tasks, drain })
    }
}

impl fmt::Debug for ProxyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyBuilder")
            .field("target", &self.target)
            .field("endpoints", &self.endpoints)
            .field("config", &self.config)
            .finish()
    }
}
