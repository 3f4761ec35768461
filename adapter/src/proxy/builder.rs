//! The builder of a [`Proxy`].

use std::{fmt, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::{Proxy, service::ProxyService};
use crate::{
    Error,
    client::{FixedEndpoint, Forwarder, RemoteAgentBuilder},
    server::{Endpoints, ServerConfig, ServerTasks, server_settings},
};

/// Settings of a [`Proxy`], made by [`Proxy::builder`].
#[must_use]
pub struct ProxyBuilder {
    target: RemoteAgentBuilder<FixedEndpoint>,
    config: ServerConfig,
    endpoints: Endpoints,
}

impl ProxyBuilder {
    pub(super) fn new(target: RemoteAgentBuilder<FixedEndpoint>) -> Self {
        Self {
            target,
            config: ServerConfig::default(),
            endpoints: Endpoints::default(),
        }
    }

    server_settings! {
        /// Default: 1024.
        max_connections;
        /// The frames that are exchanged with the target have limits of their own:
        /// [`RemoteAgentBuilder::frame_limits`].
        frame_limits;
        idle_timeout;
        /// Limits how long an answer, or each chunk of a stream, may take. Default: the
        /// [timeout](RemoteAgentBuilder::timeout) of the target. The shorter one applies.
        handler_timeout;
        /// Watches end at once.
        shutdown_timeout;
    }

    /// Binds all endpoints and starts to forward. If one of them cannot be bound, none is served.
    /// The proxy does not connect to the target before the first request.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if the target or an endpoint is invalid,
    /// [`Error::InvalidSetting`] if a setting is invalid or there is no endpoint, and
    /// [`Error::Listen`] if an endpoint is in use or cannot be bound.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is served and the endpoints are released.
    pub async fn serve(self) -> Result<Proxy, Error> {
        self.config.check()?;
        let target = match self.config.handler_timeout {
            Some(timeout) => self.target.timeout_at_most(timeout),
            None => self.target,
        };
        let drain = CancellationToken::new();
        let service = ProxyService::new(Forwarder::new(target)?, drain.clone());
        let bound = self.endpoints.bind().await?;
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
