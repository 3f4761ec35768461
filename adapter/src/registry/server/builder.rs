//! The builder of a [`RegistryServer`].

use std::{fmt, sync::Arc, time::Duration};

use agentwire_registry::{Registry, SharedRegistry};
use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{RegistryServer, service::RegistryService};
use crate::{
    Error,
    server::{Endpoints, ServerConfig, ServerTasks, server_settings},
};

/// Settings of a [`RegistryServer`], made by [`RegistryServer::builder`].
#[must_use]
pub struct RegistryServerBuilder {
    registry: SharedRegistry,
    keep_alive: Duration,
    /// `None` for half of the connections.
    max_watches: Option<usize>,
    config: ServerConfig,
    endpoints: Endpoints,
}

impl RegistryServerBuilder {
    pub(super) fn new(registry: impl Registry) -> Self {
        Self {
            registry: SharedRegistry::new(registry),
            keep_alive: KEEP_ALIVE,
            max_watches: None,
            config: ServerConfig {
                max_connections: MAX_CONNECTIONS,
                handler_timeout: Some(HANDLER_TIMEOUT),
                ..ServerConfig::default()
            },
            endpoints: Endpoints::default(),
        }
    }

    /// Limits the watches that are served at the same time. Default: half of
    /// [`max_connections`](Self::max_connections), so that watches, which last, leave the other
    /// half to heartbeats, which must come through.
    ///
    /// Further watches are refused with
    /// [`RegistryError::TooManyWatches`](crate::registry::RegistryError::TooManyWatches). A
    /// [`RemoteRegistry`](crate::registry::RemoteRegistry) retries every few seconds.
    pub fn max_watches(mut self, watches: usize) -> Self {
        self.max_watches = Some(watches);
        self
    }

    /// Sets the interval of keep-alive messages on a watch without events. Default: 15 s, which is
    /// what a [`RemoteRegistry`](crate::registry::RemoteRegistry) expects. At least 1 ms.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval.clamp(Duration::from_millis(1), MAX_TIMEOUT);
        self
    }

    server_settings! {
        /// Default: 4096. The process must be allowed to open that many files.
        ///
        /// Each watch of a [`RemoteRegistry`](crate::registry::RemoteRegistry) holds a connection
        /// while it lasts, and so does each client that follows an agent by name. Anything else,
        /// such as a heartbeat, holds one until 10 s after its answer.
        max_connections;
        /// Long lists are split to fit.
        frame_limits;
        /// A connection with a watch is not idle.
        idle_timeout;
        /// Limits how long the registry behind this server may take for an answer. Default: 30 s.
        /// The caller then gets `AGENT_UNAVAILABLE`.
        handler_timeout;
        /// Watches end at once.
        shutdown_timeout;
    }

    /// Binds all endpoints and starts to serve. If one of them cannot be bound, none is served.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::InvalidSetting`] also if there is no endpoint, and
    /// [`Error::Listen`] if an endpoint is in use or cannot be bound.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future serves nothing and releases what was bound.
    pub async fn serve(self) -> Result<RegistryServer, Error> {
        self.config.check()?;
        let bound = self.endpoints.bind().await?;
        let drain = CancellationToken::new();
        let half = self.config.max_connections / 2;
        let max_watches = self.max_watches.unwrap_or(half.max(1));
        let service = RegistryService {
            registry: self.registry,
            page_size: PAGE_SIZE.min(self.config.frame_limits.max_send() / PAGES_PER_FRAME),
            keep_alive: self.keep_alive,
            handler_timeout: self.config.handler_timeout,
            watches: Arc::new(Semaphore::new(max_watches.min(Semaphore::MAX_PERMITS))),
            max_watches,
            drain: drain.clone(),
        };
        let tasks = ServerTasks::start(bound, Arc::new(service), self.config);
        for endpoint in tasks.endpoints() {
            tracing::debug!(%endpoint, "serving a registry");
        }
        Ok(RegistryServer { tasks, drain })
    }
}

impl fmt::Debug for RegistryServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryServerBuilder")
            .field("keep_alive", &self.keep_alive)
            .field("endpoints", &self.endpoints)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// More than a server of agents has: each registered agent connects for a moment now and then, and
/// each client that follows an agent stays connected.
const MAX_CONNECTIONS: usize = 4096;

/// The size of one answer to a request for a list, in bytes of JSON, and which part of a frame it
/// may be.
const PAGE_SIZE: usize = 256 * 1024;
const PAGES_PER_FRAME: usize = 4;
