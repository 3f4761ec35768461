//! The carriers, which receive the requests for a service and send its answers.
//!
//! Each carrier has its own folder. A carrier receives requests from its peers, passes the requests
//! to the [`Service`], and sends the answers back. Each carrier also implements limits, timeouts
//! and draining, according to the settings in [`ServerContext`]. The endpoint determines the
//! carrier: see [`Carrier::of`]. All carriers share the [`Acceptor`], which keeps the limits of
//! connections and calls [`Serve::serve`] for each connection.

mod acceptor;
mod frames;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(any(feature = "grpc", feature = "http"))]
mod headers;
#[cfg(feature = "http")]
mod http;
#[cfg(any(feature = "grpc", feature = "http"))]
mod memory;
mod rates;
mod refusals;
mod slot;

use std::{sync::Arc, time::SystemTime};

use agentwire_transport::{
    Connection, Endpoint, Error as TransportError, Listener, PeerCertificate, internal::MAX_TIMEOUT,
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::task::TaskTracker;

#[cfg(feature = "http")]
use self::http::Http;
#[cfg(feature = "http")]
pub use self::http::{HttpOptions, HttpService, ReplyBody, service};
use self::{acceptor::Acceptor, frames::Frames, slot::Slot};
#[cfg(feature = "http")]
use super::readiness::Readiness;
#[cfg(feature = "websocket")]
use super::service::Caller;
use super::{budget::MemoryBudget, config::ServerConfig, service::Service, shutdown::Shutdown};
use crate::Error;

/// The state that all carriers of a server share.
#[derive(Clone)]
pub(super) struct ServerContext {
    pub(super) service: Arc<dyn Service>,
    pub(super) config: Arc<ServerConfig>,
    pub(super) budget: Arc<MemoryBudget>,
    pub(super) shutdown: Shutdown,
    #[cfg(feature = "http")]
    pub(super) readiness: Arc<Readiness>,
    /// The tasks of the server. The server has stopped when all tasks have ended.
    pub(super) tasks: TaskTracker,
}

/// A bound endpoint and its carrier.
pub(crate) struct Bound {
    listener: Listener,
    /// The endpoint to which peers connect.
    endpoint: Endpoint,
    carrier: Carrier,
}

/// The carrier of a server's endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carrier {
    /// Frames over byte streams: Unix, TCP, TLS, WebSocket, memory or a custom transport.
    Frames,
    /// gRPC over TCP or TLS.
    #[cfg(feature = "grpc")]
    Grpc,
    /// HTTP/1.1 and HTTP/2 over TCP or TLS.
    #[cfg(feature = "http")]
    Http,
}

impl Carrier {
    /// Returns the carrier of an endpoint. The scheme determines the carrier.
    fn of(endpoint: &Endpoint) -> Self {
        match endpoint {
            #[cfg(feature = "grpc")]
            Endpoint::Url(url) if url.scheme.is_grpc() => Self::Grpc,
            #[cfg(feature = "http")]
            Endpoint::Url(url) if url.scheme.is_http() => Self::Http,
            // The transport crate refuses the schemes whose features are not enabled.
            _ => Self::Frames,
        }
    }
}

impl Bound {
    /// Binds an endpoint.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Listen`] if the endpoint is in use or cannot be bound.
    pub(super) async fn bind(endpoint: &Endpoint, config: &ServerConfig) -> Result<Self, Error> {
        let carrier = Carrier::of(endpoint);
        let listener = match carrier {
            Carrier::Frames => listen(endpoint, config).await,
            #[cfg(feature = "grpc")]
            Carrier::Grpc => listen_below(endpoint, config, &[b"h2"]).await,
            #[cfg(feature = "http")]
            Carrier::Http => listen_below(endpoint, config, http::PROTOCOLS).await,
        };
        let listener = listener.map_err(Error::Listen)?;
        let mut bound = listener.endpoint().clone();
        // The listener below a carrier with its own scheme has the endpoint of a byte stream.
        if let (true, Some((_, port))) = (carrier != Carrier::Frames, bound.host_and_port()) {
            bound = endpoint.clone().with_port(port);
        }
        Ok(Self {
            endpoint: bound,
            listener,
            carrier,
        })
    }

    /// Returns the endpoint to which peers connect. If the operating system chose the port, the
    /// endpoint contains the chosen port.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Starts serving in tasks of the server.
    pub(super) fn start(self, server: ServerContext) {
        match self.carrier {
            Carrier::Frames => {
                #[cfg(feature = "websocket")]
                let websocket = server.config.websocket_options();
                #[cfg(feature = "websocket")]
                let websocket = check_credentials(websocket, &server.service);
                #[cfg(feature = "websocket")]
                let bound = Self {
                    listener: self.listener.with_websocket_options(websocket),
                    ..self
                };
                #[cfg(not(feature = "websocket"))]
                let bound = self;
                bound.accept(Frames, server);
            }
            #[cfg(feature = "grpc")]
            Carrier::Grpc => self.accept(grpc::Grpc, server),
            #[cfg(feature = "http")]
            Carrier::Http => {
                let http = match &self.endpoint {
                    Endpoint::Url(url) => Http::new(&server, url),
                    // Unreachable, because only URLs have this carrier.
                    _ => return,
                };
                self.accept(http, server);
            }
        }
    }

    /// Starts the task that accepts connections and serves them with `carrier`.
    fn accept(self, carrier: impl Serve, server: ServerContext) {
        let listener = match server.config.tcp.clone() {
            Some(options) => self.listener.with_tcp_options(options),
            None => self.listener,
        };
        let tasks = server.tasks.clone();
        let acceptor = Acceptor {
            listener,
            endpoint: self.endpoint,
            carrier,
            server,
        };
        tasks.spawn(acceptor.run());
    }
}

/// A listener of the caller carries frames.
impl From<Listener> for Bound {
    fn from(listener: Listener) -> Self {
        Self {
            endpoint: listener.endpoint().clone(),
            listener,
            carrier: Carrier::Frames,
        }
    }
}

/// Serves the connections of one endpoint.
trait Serve: Send + Sync + 'static {
    /// Returns the future that serves a connection until the connection ends or the server stops.
    ///
    /// The future drops `permit` when it ends. It accounts for most of the memory of an idle
    /// connection, so the values that it captures must be small.
    fn serve(
        &self,
        connection: Connection,
        slot: Arc<Slot>,
        permit: OwnedSemaphorePermit,
        server: &ServerContext,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// Refuses the handshakes of peers whose credential is not valid.
#[cfg(feature = "websocket")]
fn check_credentials(
    options: agentwire_transport::WebSocketOptions,
    service: &Arc<dyn Service>,
) -> agentwire_transport::WebSocketOptions {
    let service = Arc::clone(service);
    options.check_handshakes(move |peer, authorization| {
        let credential = authorization.map(crate::Credential::from_authorization);
        let checked = service.check_credential(Caller {
            credential,
            ..Caller::new(peer)
        });
        Box::pin(async move {
            checked.await.map_err(|error| match error.code.as_str() {
                "UNAUTHENTICATED" => 401,
                "RATE_LIMITED" => 429,
                _ => 503,
            })
        })
    })
}

/// Returns when a certificate expires, unless that is more than a year away.
fn expiry(certificate: &PeerCertificate) -> Option<Instant> {
    let left = certificate.not_after().duration_since(SystemTime::now());
    let left = left.unwrap_or_default();
    (left <= MAX_TIMEOUT).then(|| Instant::now() + left)
}

/// Binds an endpoint of the transport crate, with the certificates of the server.
async fn listen(endpoint: &Endpoint, config: &ServerConfig) -> Result<Listener, TransportError> {
    #[cfg(feature = "tls")]
    if let (true, Some(tls)) = (endpoint.is_secure(), &config.tls) {
        return Listener::bind_tls(endpoint, tls.clone()).await;
    }
    Listener::bind_with(endpoint, &config.socket_access).await
}

/// Binds the socket below a carrier that has its own scheme. `protocols` are the names that the
/// server offers over TLS (ALPN).
#[cfg(any(feature = "grpc", feature = "http"))]
async fn listen_below(
    endpoint: &Endpoint,
    config: &ServerConfig,
    protocols: &[&[u8]],
) -> Result<Listener, TransportError> {
    let (host, port) = endpoint.host_and_port().unwrap_or_default();
    let listener = if endpoint.is_secure() {
        let below = Endpoint::tls(host, port)?;
        #[cfg(feature = "tls")]
        match &config.tls {
            Some(tls) => Listener::bind_tls(&below, tls.clone().protocols(protocols)).await,
            None => Listener::bind(&below).await,
        }
        #[cfg(not(feature = "tls"))]
        Listener::bind(&below).await
    } else {
        Listener::bind(&Endpoint::tcp(host, port)?).await
    };
    let _ = (protocols, config);
    listener.map_err(|error| error.at(endpoint))
}
