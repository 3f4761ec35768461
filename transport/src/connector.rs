//! Connectors, which open connections over any carrier.

#[cfg(feature = "websocket")]
use std::io;
use std::{fmt::Debug, pin::Pin, sync::Arc};

use crate::{Connection, Endpoint, EndpointProblem, Error, TcpOptions, memory, tcp};
#[cfg(feature = "websocket")]
use crate::{TlsError, WebSocketError};

/// A boxed future, which allows [`Connector`] to be used as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A type that opens connections to one server.
///
/// [`Endpoint`] implements this trait for the built-in carriers. Implement the trait for a custom
/// carrier:
///
/// ```
/// # mod agentwire { pub extern crate agentwire_transport as transport; pub use agentwire_transport::*; }
/// use agentwire::{
///     Endpoint,
///     transport::{BoxFuture, Connection, Connector, Error},
/// };
///
/// /// Starts a program for each connection, and talks to it over a pipe.
/// #[derive(Debug)]
/// struct Pipe(Endpoint);
///
/// impl Connector for Pipe {
///     fn endpoint(&self) -> &Endpoint {
///         &self.0
///     }
///
///     fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
///         Box::pin(async {
///             let (near, _far) = tokio::io::duplex(1024);
///             Ok(Connection::custom(near, "pipe"))
///         })
///     }
/// }
///
/// let _pipe = Pipe(Endpoint::custom("pipe to a program"));
/// ```
pub trait Connector: Debug + Send + Sync + 'static {
    /// Returns the endpoint of the server, for errors and logs.
    fn endpoint(&self) -> &Endpoint;

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Connect`] if the connection cannot be opened. If no server listens at the
    /// endpoint, the source must have the kind `ConnectionRefused`, so that [`Error::is_refused`]
    /// returns true.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the implementation must abort the connection attempt.
    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>>;
}

impl Connector for Endpoint {
    fn endpoint(&self) -> &Endpoint {
        self
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(connect(self))
    }
}

/// A connector for an endpoint of a built-in carrier that sets the given TCP options.
#[derive(Debug, Clone)]
pub struct EndpointConnector {
    endpoint: Endpoint,
    options: TcpOptions,
    #[cfg(feature = "tls")]
    tls: crate::TlsClient,
    #[cfg(feature = "websocket")]
    websocket: crate::WebSocketOptions,
}

impl EndpointConnector {
    /// Creates a connector. The options affect only endpoints over TCP.
    pub fn new(endpoint: Endpoint, options: TcpOptions) -> Self {
        Self {
            endpoint,
            options,
            #[cfg(feature = "tls")]
            tls: crate::TlsClient::new(),
            #[cfg(feature = "websocket")]
            websocket: crate::WebSocketOptions::new(),
        }
    }

    /// Sets the certificates for a `tls://` or `wss://` endpoint. By default, the certification
    /// authorities of the system are trusted.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: crate::TlsClient) -> Self {
        self.tls = tls;
        self
    }

    /// Sets the options for a WebSocket endpoint.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn with_websocket(mut self, options: crate::WebSocketOptions) -> Self {
        self.websocket = options;
        self
    }

    async fn open(&self) -> Result<Connection, Error> {
        let (endpoint, options) = (&self.endpoint, &self.options);
        let opened = match endpoint {
            #[cfg(unix)]
            Endpoint::Unix { path } => crate::unix::connect(path).await,
            _ if matches!(endpoint.host_and_port(), Some((_, 0))) => {
                return Err(Error::InvalidEndpoint {
                    text: endpoint.to_string(),
                    problem: EndpointProblem::PortZero,
                });
            }
            Endpoint::Tcp { host, port, .. } => tcp::connect(host, *port, options).await,
            #[cfg(feature = "tls")]
            Endpoint::Tls { host, port } => {
                return crate::tls::connect(endpoint, host, *port, options, &self.tls).await;
            }
            #[cfg(not(feature = "tls"))]
            Endpoint::Tls { .. } => return Err(missing_tls(endpoint)),
            Endpoint::Memory { name } => memory::connect(name).await,
            #[cfg(feature = "websocket")]
            Endpoint::Url(url) if url.scheme.is_websocket() => {
                return self.open_websocket(url).await;
            }
            Endpoint::Url(url) => {
                return Err(Error::MissingFeature {
                    endpoint: endpoint.clone(),
                    carrier: url.scheme.carrier(),
                    features: url.scheme.features(),
                });
            }
            Endpoint::Custom { .. } => {
                return Err(Error::NoCarrier {
                    endpoint: endpoint.clone(),
                });
            }
            #[cfg(not(unix))]
            Endpoint::Unix { .. } => {
                return Err(Error::NoCarrier {
                    endpoint: endpoint.clone(),
                });
            }
        };
        opened.map_err(|source| Error::Connect {
            endpoint: endpoint.clone(),
            source,
        })
    }

    #[cfg(feature = "websocket")]
    async fn open_websocket(&self, url: &crate::Url) -> Result<Connection, Error> {
        let connection = if url.scheme.is_secure() {
            #[cfg(not(feature = "tls"))]
            return Err(missing_tls(&self.endpoint));
            #[cfg(feature = "tls")]
            {
                // WebSocket over TLS has no protocol name (ALPN).
                let tls = self.tls.clone().protocols(&[]);
                let (host, options) = (&url.host, &self.options);
                crate::tls::connect(&self.endpoint, host, url.port, options, &tls).await?
            }
        } else {
            let opened = tcp::connect(&url.host, url.port, &self.options).await;
            opened.map_err(|source| Error::Connect {
                endpoint: self.endpoint.clone(),
                source,
            })?
        };
        let opened = connection.open_websocket(url, &self.websocket).await;
        opened.map_err(|error| self.upgrade_failed(error))
    }

    #[cfg(feature = "websocket")]
    fn upgrade_failed(&self, error: io::Error) -> Error {
        let endpoint = self.endpoint.clone();
        let inner = error.get_ref();
        if let Some(source) = inner.and_then(|inner| inner.downcast_ref::<WebSocketError>()) {
            let source = source.clone();
            return Error::WebSocket { endpoint, source };
        }
        // In TLS 1.3, only the first read shows that the server has refused the client.
        if let Some(source) = inner.and_then(|inner| inner.downcast_ref::<TlsError>()) {
            let source = source.clone();
            return Error::Tls { endpoint, source };
        }
        Error::Connect {
            endpoint,
            source: error,
        }
    }
}

#[cfg(not(feature = "tls"))]
fn missing_tls(endpoint: &Endpoint) -> Error {
    Error::MissingFeature {
        endpoint: endpoint.clone(),
        carrier: "TLS",
        features: crate::error::TLS_FEATURES,
    }
}

impl Connector for EndpointConnector {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(self.open())
    }
}

impl<C: Connector + ?Sized> Connector for Arc<C> {
    fn endpoint(&self) -> &Endpoint {
        (**self).endpoint()
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        (**self).connect()
    }
}

/// Opens a connection over a built-in carrier.
///
/// For TCP, the host name is resolved, and the first address that answers is used (Happy Eyeballs,
/// RFC 8305). The attempts alternate between the address families. If an address has not answered
/// after 250 ms, the next address is tried in parallel. The socket has the default [`TcpOptions`];
/// use [`connect_with`] to set other options.
///
/// For TLS, the future resolves after the handshake, and the certificates of the system's
/// certification authorities are trusted; [`EndpointConnector::with_tls`] sets other ones. The
/// server may refuse the certificate of the client afterwards, which the first read reports. For
/// WebSocket, too, the future resolves after the handshake.
///
/// If the accept queue of a running server is full, a connection over a Unix socket or in memory
/// waits until the queue has capacity. The wait has no limit, so use a timeout for the call. (For
/// Unix sockets, only Linux distinguishes a full queue from a missing server. Other systems refuse
/// the connection in both cases.)
///
/// # Errors
///
/// Returns [`Error::Connect`] if the connection cannot be opened; [`Error::is_refused`] returns
/// true if no server listens at the endpoint. If the resolution of a host name fails temporarily,
/// the source has the kind `WouldBlock`. Returns [`Error::InvalidEndpoint`] for TCP port 0, and
/// [`Error::NoCarrier`] if no built-in carrier supports the endpoint. Returns [`Error::Tls`] or
/// [`Error::WebSocket`] if that handshake fails, and [`Error::MissingFeature`] without the feature
/// for the endpoint.
///
/// # Cancel safety
///
/// If the future is dropped, the connection attempt is aborted and all resources are released. The
/// server may accept a connection that is closed without any data.
pub async fn connect(endpoint: &Endpoint) -> Result<Connection, Error> {
    connect_with(endpoint, &TcpOptions::new()).await
}

/// Opens a connection like [`connect`], but with the given options if it is a TCP connection.
///
/// # Errors
///
/// The same as for [`connect`].
///
/// # Cancel safety
///
/// The same as for [`connect`].
pub async fn connect_with(endpoint: &Endpoint, options: &TcpOptions) -> Result<Connection, Error> {
    let connector = EndpointConnector::new(endpoint.clone(), options.clone());
    connector.open().await
}
