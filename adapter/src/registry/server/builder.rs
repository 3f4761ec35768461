use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::FrameLimits;
use agentwire_registry::{Registry, SharedRegistry};
use agentwire_transport::{Endpoint, Error as TransportError, Listener, internal::MAX_TIMEOUT};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{RegistryServer, service::RegistryService};
use crate::{
    Error,
    server::{Config, Serving},
};

/// How a [`RegistryServer`] serves. Made by [`RegistryServer::builder`].
#[must_use]
pub struct RegistryServerBuilder {
    registry: SharedRegistry,
    keep_alive: Duration,
    handler_timeout: Duration,
    /// `None` for what the number of connections allows.
    max_watches: Option<usize>,
    config: Config,
}

/// Each agent that is registered connects for a moment every now and then, and each client that follows one stays.
const MAX_CONNECTIONS: usize = 4096;

/// So much of the connections is left to what is no watch.
const PART_FOR_REQUESTS: usize = 2;

/// How much of a list goes into one answer, in bytes of JSON, and what part of a frame that may be.
const PAGE_SIZE: usize = 256 * 1024;
const PAGES_PER_FRAME: usize = 4;

impl RegistryServerBuilder {
    pub(super) fn new(registry: impl Registry) -> Self {
        Self {
            registry: SharedRegistry::new(registry),
            keep_alive: Duration::from_secs(15),
            handler_timeout: Duration::from_secs(30),
            max_watches: None,
            config: Config {
                max_connections: MAX_CONNECTIONS,
                ..Config::default()
            },
        }
    }

    /// How many connections are open at most. Default: 4096; the process must be allowed as many open files. At the limit
    /// no more are accepted; they wait in the system's queue.
    ///
    /// Each watch of a [`RemoteRegistry`](crate::registry::RemoteRegistry) has one to itself for as long as it lasts, and
    /// so has each client that follows an agent by name. Everything else, such as a heartbeat, has one for as long as it
    /// takes and 10 s more.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// How many watches are served at a time. Default: half of [`max_connections`](Self::max_connections), so that
    /// watches, which last, leave the other half to heartbeats, which must come through. Further ones are refused with
    /// [`RegistryError::TooManyWatches`](crate::registry::RegistryError::TooManyWatches); those of a
    /// [`RemoteRegistry`](crate::registry::RemoteRegistry) ask again every few seconds.
    pub fn max_watches(mut self, watches: usize) -> Self {
        self.max_watches = Some(watches);
        self
    }

    /// How large frames may be. Default: 10 MiB each way. Long lists are split, so that their parts fit.
    pub fn frame_limits(mut self, limits: FrameLimits) -> Self {
        self.config.frame_limits = limits;
        self
    }

    /// After how long a connection without a request is closed. Default: 60 s. One with a watch is not idle.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.config.idle_timeout = timeout;
        self
    }

    /// How long the registry behind this server may take. Default: 30 s. Then the caller is told
    /// `AGENT_UNAVAILABLE`.
    pub fn handler_timeout(mut self, timeout: Duration) -> Self {
        self.handler_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// After how long without an event a watch says that it lives. Default: 15 s, which is what a
    /// [`RemoteRegistry`](crate::registry::RemoteRegistry) expects; at least 1 ms.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval.clamp(Duration::from_millis(1), MAX_TIMEOUT);
        self
    }

    /// How long [`RegistryServer::stop`] waits for requests in flight. Default: 30 s. Watches end at once.
    pub fn shutdown_timeout(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// Starts to serve on an endpoint: `unix:///path`, `tcp://host:port`, `memory://name`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidEndpoint`], [`Error::InvalidSetting`], or [`Error::Listen`] if the endpoint is in use
    /// or cannot be had.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn serve<E>(self, endpoint: E) -> Result<RegistryServer, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        let endpoint = endpoint
            .try_into()
            .map_err(|error| Error::InvalidEndpoint(TransportError::from(error)))?;
        self.config.check()?;
        let listener = Listener::bind(&endpoint).await.map_err(Error::Listen)?;
        self.serve_on(listener)
    }

    /// Starts to serve on a listener, which may be of a transport of your own.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn serve_on(self, listener: Listener) -> Result<RegistryServer, Error> {
        self.config.check()?;
        let drain = CancellationToken::new();
        let half = self.config.max_connections / PART_FOR_REQUESTS;
        let max_watches = self.max_watches.unwrap_or(half.max(1));
        let service = RegistryService {
            registry: self.registry,
            page_size: PAGE_SIZE.min(self.config.frame_limits.max_send() / PAGES_PER_FRAME),
            keep_alive: self.keep_alive,
            handler_timeout: self.handler_timeout,
            watches: Arc::new(Semaphore::new(max_watches.min(Semaphore::MAX_PERMITS))),
            max_watches,
            drain: drain.clone(),
        };
        tracing::debug!(endpoint = %listener.endpoint(), "serving a registry");
        let serving = Serving::start(listener, Arc::new(service), self.config);
        Ok(RegistryServer { serving, drain })
    }
}

impl fmt::Debug for RegistryServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryServerBuilder")
            .field("keep_alive", &self.keep_alive)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
