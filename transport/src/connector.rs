//! Opens connections over any carrier.

use std::{fmt::Debug, pin::Pin, sync::Arc};

use crate::{Connection, Endpoint, EndpointProblem, Error, TcpOptions, memory, tcp};

/// A boxed future, which keeps [`Connector`] usable as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens connections to one server.
///
/// An [`Endpoint`] is a connector for the built-in carriers. Implement the trait for a carrier of
/// your own:
///
/// ```
/// use agentwire_transport::{BoxFuture, Connection, Connector, Endpoint, Error};
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
    /// Returns the endpoint that the connections lead to, for errors and logs.
    fn endpoint(&self) -> &Endpoint;

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if the server cannot be reached. If no server listens, the source must
    /// have the kind `ConnectionRefused`, so that [`Error::is_refused`] returns true.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must abandon the attempt.
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

/// Connects to an endpoint of a built-in carrier with TCP options of its own.
#[derive(Debug, Clone)]
pub struct EndpointConnector {
    endpoint: Endpoint,
    options: TcpOptions,
}

impl EndpointConnector {
    /// Creates a connector. The options have no effect if the endpoint is not a TCP endpoint.
    pub fn new(endpoint: Endpoint, options: TcpOptions) -> Self {
        Self { endpoint, options }
    }
}

impl Connector for EndpointConnector {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        Box::pin(connect_with(&self.endpoint, &self.options))
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
/// A TCP host name is resolved, and the first of its addresses that answers is used, as RFC 8305
/// describes (Happy Eyeballs): the address families alternate, and each address that has not
/// answered after 250 ms is joined by the next. The socket gets the default [`TcpOptions`];
/// [`connect_with`] sets others. If a live server has
/// a full accept queue, a Unix or memory connection waits until there is room, without a limit: put
/// a timeout around the call. (Only Linux distinguishes a full queue of a Unix socket from a server
/// that is gone; other systems refuse the connection.)
///
/// # Errors
///
/// [`Error::Connect`] with the system's error; [`Error::is_refused`] is true if no server listens.
/// The source has the kind `WouldBlock` if a host name cannot be resolved at the moment.
/// [`Error::InvalidEndpoint`] for TCP port 0, and [`Error::NoCarrier`] for a custom endpoint.
///
/// # Cancel safety
///
/// Dropping the future abandons the attempt and leaves nothing behind. The server may see a
/// connection that ends without a byte.
pub async fn connect(endpoint: &Endpoint) -> Result<Connection, Error> {
    connect_with(endpoint, &TcpOptions::new()).await
}

/// Opens a connection as [`connect`] does. If it is a TCP connection, it gets these options.
///
/// # Errors
///
/// As [`connect`].
///
/// # Cancel safety
///
/// As [`connect`].
pub async fn connect_with(endpoint: &Endpoint, options: &TcpOptions) -> Result<Connection, Error> {
    let opened = match endpoint {
        #[cfg(unix)]
        Endpoint::Unix { path } => crate::unix::connect(path).await,
        Endpoint::Tcp { port: 0, .. } => {
            return Err(Error::InvalidEndpoint {
                text: endpoint.to_string(),
                problem: EndpointProblem::PortZero,
            });
        }
        Endpoint::Tcp { host, port } => tcp::connect(host, *port, options).await,
        Endpoint::Memory { name } => memory::connect(name).await,
        _ => {
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
