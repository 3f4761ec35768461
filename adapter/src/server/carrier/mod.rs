//! Carriers: how requests reach a service and how answers leave it.
//!
//! A carrier is a folder of its own. It takes requests from its peers, hands them to the
//! [`Service`], and sends the answers back; limits, timeouts and draining are its own, by the
//! settings in [`ServerContext`]. A carrier is chosen by the endpoint: see [`Bound::bind`].

mod frames;

use std::sync::Arc;

use agentwire_transport::{Endpoint, Listener};
use tokio_util::task::TaskTracker;

use self::frames::Acceptor;
use super::{config::ServerConfig, service::Service, shutdown::Shutdown};
use crate::Error;

/// What every carrier of a server shares.
#[derive(Clone)]
pub(super) struct ServerContext {
    pub(super) service: Arc<dyn Service>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) shutdown: Shutdown,
    /// All tasks of the server. It is stopped when none is left.
    pub(super) tasks: TaskTracker,
}

/// An endpoint that is bound, with the carrier that serves it.
pub(crate) enum Bound {
    /// Envelopes in frames, over a byte stream: Unix, TCP, memory and custom transports.
    Frames(Listener),
}

impl Bound {
    /// Binds an endpoint for the carrier that its scheme stands for.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`].
    pub(super) async fn bind(endpoint: &Endpoint) -> Result<Self, Error> {
        let listener = Listener::bind(endpoint).await.map_err(Error::Listen)?;
        Ok(Self::Frames(listener))
    }

    /// Returns the endpoint that peers connect to, with the real port if the system chose one.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Frames(listener) => listener.endpoint(),
        }
    }

    /// Starts to serve, in tasks of the server.
    pub(super) fn start(self, server: ServerContext) {
        let tasks = server.tasks.clone();
        match self {
            Self::Frames(listener) => {
                let listener = match server.config.tcp.clone() {
                    Some(options) => listener.with_tcp_options(options),
                    None => listener,
                };
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
