//! The builder of a [`RegistryServer`].

use std::{fmt, sync::Arc, time::Duration};

use agentwire_codec::FrameLimits;
use agentwire_registry::{Event, Registry, SharedRegistry, WatchScope};
use agentwire_transport::internal::{LogLimit, MAX_TIMEOUT};
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    RegistryServer,
    quota::{PeerLimit, QuotaLimits, Quotas},
    service::RegistryService,
};
use crate::{
    Error,
    observer::Observers,
    server::{Endpoints, ServerConfig, ServerTasks, server_settings},
};

/// A builder for a [`RegistryServer`], returned by [`RegistryServer::builder`].
///
/// ```
/// use agentwire::registry::{LocalRegistry, RegistryServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let server = RegistryServer::builder(LocalRegistry::new())
///     .max_registrations_per_peer(16)
///     .endpoint("memory://registry-builder-page")
///     .serve()
///     .await?;
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RegistryServerBuilder {
    registry: SharedRegistry,
    keep_alive: Duration,
    /// The maximum number of watches, or `None` to use half of `max_connections`.
    max_watches: Option<usize>,
    max_watches_per_connection: usize,
    /// The quota of watches for each peer, or `None` for half of the limit on watches.
    max_watches_per_peer: Option<usize>,
    max_registrations_per_connection: usize,
    max_registrations_per_peer: Option<usize>,
    config: ServerConfig,
    endpoints: Endpoints,
}

impl RegistryServerBuilder {
    pub(super) fn new(registry: impl Registry) -> Self {
        Self {
            registry: SharedRegistry::new(registry),
            keep_alive: KEEP_ALIVE,
            max_watches: None,
            max_watches_per_connection: WATCHES_PER_CONNECTION,
            max_watches_per_peer: None,
            max_registrations_per_connection: REGISTRATIONS_PER_CONNECTION,
            max_registrations_per_peer: None,
            config: ServerConfig {
                max_connections: MAX_CONNECTIONS,
                handler_timeout: Some(HANDLER_TIMEOUT),
                max_queued: MAX_QUEUED,
                frame_limits: FrameLimits::default().receive(MAX_REQUEST),
                ..ServerConfig::default()
            },
            endpoints: Endpoints::default(),
        }
    }

    /// Sets the maximum number of concurrent watches. The default is half of
    /// [`max_connections`](Self::max_connections). Watches stay connected, so the other half must
    /// remain available for heartbeats.
    ///
    /// Further watches are refused with
    /// [`RegistryError::TooManyWatches`](crate::registry::RegistryError::TooManyWatches). A
    /// [`RemoteRegistry`](crate::registry::RemoteRegistry) retries a refused watch every few
    /// seconds.
    pub fn max_watches(mut self, watches: usize) -> Self {
        self.max_watches = Some(watches);
        self
    }

    /// Sets the largest number of concurrent watches on one connection. The default is 16. A
    /// [`RemoteRegistry`](crate::registry::RemoteRegistry) uses a connection for each watch.
    ///
    /// Further watches are refused with
    /// [`RegistryError::QuotaReached`](crate::registry::RegistryError::QuotaReached), and so are
    /// requests beyond all other quotas.
    pub fn max_watches_per_connection(mut self, watches: usize) -> Self {
        self.max_watches_per_connection = watches;
        self
    }

    /// Sets the largest number of concurrent watches of one peer. The default is half of
    /// [`max_watches`](Self::max_watches), but at least 16.
    ///
    /// For all quotas, a peer is a user behind a Unix socket, an IPv4 address, an IPv6 network of
    /// 64 bits, or everything behind the loopback interface. The default quotas for peers do not
    /// apply to memory endpoints, whose peers are in this process.
    pub fn max_watches_per_peer(mut self, watches: usize) -> Self {
        self.max_watches_per_peer = Some(watches);
        self
    }

    /// Sets the largest number of registrations that were made on one connection. The default is
    /// 1024. A registration counts until it is unregistered or expires, and also after its
    /// connection has been closed.
    pub fn max_registrations_per_connection(mut self, registrations: usize) -> Self {
        self.max_registrations_per_connection = registrations;
        self
    }

    /// Sets the largest number of registrations of one peer. The default is 16,384.
    ///
    /// The quota counts the registrations that were made through this server, also if several
    /// servers share a registry.
    pub fn max_registrations_per_peer(mut self, registrations: usize) -> Self {
        self.max_registrations_per_peer = Some(registrations);
        self
    }

    /// Sets the interval of keep-alive messages on a watch without events. The default is 15 s, and
    /// the minimum is 1 ms. A [`RemoteRegistry`](crate::registry::RemoteRegistry) reconnects if it
    /// receives no message for 45 s.
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        self.keep_alive = interval.clamp(Duration::from_millis(1), MAX_TIMEOUT);
        self
    }

    server_settings! {
        /// The default is 4096. The limit on open files of the process must be higher than the
        /// maximum number of connections.
        ///
        /// Each watch of a [`RemoteRegistry`](crate::registry::RemoteRegistry) keeps a connection
        /// open, and so does each client that discovers an agent. After any other request, such as
        /// a heartbeat, the connection stays open for 10 s.
        max_connections;
        /// By default, a registry receives frames of up to 1 MiB and sends frames of up to 10 MiB.
        /// The former is sufficient for each registration within the default of
        /// [`max_size`](crate::registry::RegistryConfig::max_size). Long lists are split into
        /// pages, each of which fits into a frame.
        frame_limits;
        /// A connection with a watch is never idle.
        idle_timeout;
        /// Sets the timeout for an answer of the served registry. The default is 30 s. When the
        /// timeout expires, the caller receives `AGENT_UNAVAILABLE`.
        handler_timeout;
        /// Watches are ended immediately.
        shutdown_timeout;
    }

    /// Binds all endpoints and starts serving. If an endpoint cannot be bound, no endpoint is
    /// served.
    ///
    /// # Errors
    ///
    /// Returns [`Error::InvalidEndpoint`] if an endpoint is not valid, and
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
    pub async fn serve(self) -> Result<RegistryServer, Error> {
        self.config.check()?;
        let bound = self.endpoints.bind(&self.config).await?;
        let drain = CancellationToken::new();
        let half = self.config.max_connections / 2;
        let max_watches = self.max_watches.unwrap_or(half.max(1));
        let share = (max_watches / 2).max(WATCHES_PER_CONNECTION);
        let quotas = QuotaLimits {
            registrations_per_connection: self.max_registrations_per_connection,
            registrations_per_peer: self
                .max_registrations_per_peer
                .map_or(PeerLimit::Default(REGISTRATIONS_PER_PEER), PeerLimit::Set),
            watches_per_connection: self.max_watches_per_connection,
            watches_per_peer: self
                .max_watches_per_peer
                .map_or(PeerLimit::Default(share), PeerLimit::Set),
        };
        let registry = self.registry.clone();
        let service = RegistryService {
            registry: self.registry,
            page_size: PAGE_SIZE.min(self.config.frame_limits.max_send() / PAGES_PER_FRAME),
            keep_alive: self.keep_alive,
            handler_timeout: self.config.handler_timeout,
            watches: Arc::new(Semaphore::new(max_watches.min(Semaphore::MAX_PERMITS))),
            max_watches,
            refused_watches: LogLimit::new(),
            quotas: Arc::new(Quotas::new(quotas)),
            drain: drain.clone(),
        };
        let observers = self.config.observers.clone();
        let tasks = ServerTasks::start(bound, Arc::new(service), self.config);
        if observers.get().is_some() {
            tasks.spawn(report_changes(registry, observers));
        }
        for endpoint in tasks.endpoints() {
            tracing::debug!(%endpoint, "serving a registry");
        }
        Ok(RegistryServer { tasks, drain })
    }
}

/// Reports the changes of a registry to the observers of its server.
async fn report_changes(registry: SharedRegistry, observers: Observers) {
    let mut reported = Reported {
        observers: &observers,
        registrations: 0,
    };
    loop {
        let mut watch = registry.watch(WatchScope::All);
        while let Some(Ok(event)) = watch.next().await {
            observers.report(|observer| observer.registry_changed(&event));
            reported.follow(&event);
        }
        sleep(WATCH_AGAIN).await;
    }
}

/// The number of registrations that a server has reported. Dropping it takes them back, so that an
/// observer of several servers knows their sum.
struct Reported<'a> {
    observers: &'a Observers,
    registrations: i64,
}

impl Reported<'_> {
    fn follow(&mut self, event: &Event) {
        self.report(match event {
            Event::Snapshot { registrations, .. } => {
                i64::try_from(registrations.len()).unwrap_or(i64::MAX)
            }
            Event::Joined(_) => self.registrations + 1,
            Event::Left(_) | Event::Expired(_) => self.registrations - 1,
            _ => return,
        });
    }

    fn report(&mut self, registrations: i64) {
        let change = registrations - self.registrations;
        self.registrations = registrations;
        if change != 0 {
            self.observers
                .report(|observer| observer.registrations_changed(change));
        }
    }
}

impl Drop for Reported<'_> {
    fn drop(&mut self) {
        self.report(0);
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

/// The delay before a watch that has ended is opened again.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);

/// The default maximum number of connections. The limit is higher than the default of an agent
/// server, because all registered agents and all clients that discover agents connect to the
/// registry.
const MAX_CONNECTIONS: usize = 4096;

/// How many bytes wait in memory for a peer that reads slowly. The limit is low, because thousands
/// of watches may wait for their readers.
const MAX_QUEUED: usize = 16 * 1024;

/// The maximum size of a request. By default, the content of a registration is at most 64 KiB of
/// JSON, of which a client may write each byte as an escape of six bytes.
const MAX_REQUEST: usize = 1024 * 1024;

const WATCHES_PER_CONNECTION: usize = 16;
const REGISTRATIONS_PER_CONNECTION: usize = 1024;

/// A quarter of the default limit of a registry.
const REGISTRATIONS_PER_PEER: usize = 16_384;

/// The maximum size of a page of a list, in bytes of JSON. A page is also limited to the maximum
/// frame size divided by `PAGES_PER_FRAME`.
const PAGE_SIZE: usize = 256 * 1024;
const PAGES_PER_FRAME: usize = 4;
