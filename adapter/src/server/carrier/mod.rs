//! The carriers, which receive the requests for a service and send its answers.
//!
//! Each carrier has its own folder. A carrier receives requests from its peers, passes the requests
//! to the [`Service`], and sends the answers back. Each carrier also implements limits, timeouts
//! and draining, according to the settings in [`ServerContext`]. The endpoint determines the
//! carrier: see [`Bound::bind`].

mod frames;

use std::sync::Arc;

use agentwire_transport::{Endpoint, Listener};
use tokio_util::task::TaskTracker;

use self::frames::Acceptor;
use super::{budget::MemoryBudget, config::ServerConfig, service::Service, shutdown::Shutdown};
use crate::Error;

/// The state that all carriers of a server share.
#[derive(Clone)]
pub(super) struct ServerContext {
    pub(super) service: Arc<dyn Service>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) budget: Arc<MemoryBudget>,
    pub(super) shutdown: Shutdown,
    /// The tasks of the server. The server has stopped when all tasks have ended.
    pub(super) tasks: TaskTracker,
}

/// A bound endpoint and its carrier.
pub(crate) enum Bound {
    /// A listener for frames over byte streams: Unix, TCP, TLS, WebSocket, memory or a custom
    /// transport.
    Frames(Listener),
}

impl Bound {
    /// Binds an endpoint. The scheme of the endpoint determines the carrier.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Listen`] if the endpoint is in use or cannot be bound.
    pub(super) async fn bind(endpoint: &Endpoint, config: &ServerConfig) -> Result<Self, Error> {
        #[cfg(feature = "tls")]
        if let (true, Some(tls)) = (endpoint.is_secure(), &config.tls) {
            let listener = Listener::bind_tls(endpoint, tls.clone()).await;
            return Ok(Self::Frames(listener.map_err(Error::Listen)?));
        }
        let _ = config;
        let listener = Listener::bind(endpoint).await.map_err(Error::Listen)?;
        Ok(Self::Frames(listener))
    }

    /// Returns the endpoint to which peers connect. If the operating system chose the port, the
    /// endpoint contains the chosen port.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Frames(listener) => listener.endpoint(),
        }
    }

    /// Starts serving in tasks of the server.
    pub(super) fn start(self, server: ServerContext) {
        let tasks = server.tasks.clone();
        match self {
            Self::Frames(listener) => {
                let listener = match server.config.tcp.clone() {
                    Some(options) => listener.with_tcp_options(options),
                    None => listener,
                };
                #[cfg(feature = "websocket")]
                let listener = listener.with_websocket_options(server.config.websocket_options());
                tasks.spawn(Acceptor { listener, server }.run())
            }
        };
    }
}

impl From<Listener> for Bound {
    fn from(listener: Listener) -> Self {
        Self::Frames(listener)
    }
}
