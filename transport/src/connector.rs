use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Connection, Endpoint, Error, memory, tcp};

/// A boxed future, as [`Connector`] needs it to be usable as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens connections to one server. An [`Endpoint`] is one for the built-in transports.
///
/// ```
/// use agentwire_transport::{BoxFuture, Connection, Connector, Endpoint, Error};
///
/// /// Runs a program for each connection, and talks to it over a pipe.
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
    /// Where the connections lead. Errors and logs show it.
    fn endpoint(&self) -> &Endpoint;

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if the server cannot be reached; with a source of kind
    /// `ConnectionRefused` if nobody listens, so that [`Error::is_refused`] holds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future must give up the attempt.
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

impl<C: Connector + ?Sized> Connector for Arc<C> {
    fn endpoint(&self) -> &Endpoint {
        (**self).endpoint()
    }

    fn connect(&self) -> BoxFuture<'_, Result<Connection, Error>> {
        (**self).connect()
    }
}

/// Opens a connection over a built-in transport.
///
/// A TCP name is looked up, and its addresses are tried one after the other. Where a live server
/// has too many connections waiting to be accepted, a Unix or memory connection waits for its
/// turn, with no limit: put a timeout around it. (Of a Unix socket, only Linux tells this apart
/// from a server that is gone; elsewhere the connection is refused.)
///
/// # Errors
///
/// [`Error::Connect`] with what the system said. [`Error::is_refused`] tells when nobody listens.
/// [`Error::InvalidEndpoint`] for TCP port 0, and [`Error::NoTransport`] for a custom endpoint.
///
/// # Cancel safety
///
/// Dropping the future gives up the attempt and leaves nothing behind. The server may see a
/// connection that ends without a byte.
pub async fn connect(endpoint: &Endpoint) -> Result<Connection, Error> {
    let opened = match endpoint {
        #[cfg(unix)]
        Endpoint::Unix { path } => crate::unix::connect(path).await,
        Endpoint::Tcp { port: 0, .. } => {
            let problem = crate::EndpointProblem::PortZero;
            return Err(Error::InvalidEndpoint {
                text: endpoint.to_string(),
                problem,
            });
        }
        Endpoint::Tcp { host, port } => tcp::connect(host, *port).await,
        Endpoint::Memory { name } => memory::connect(name).await,
        _ => {
            return Err(Error::NoTransport {
                endpoint: endpoint.clone(),
            });
        }
    };
    opened.map_err(|source| Error::Connect {
        endpoint: endpoint.clone(),
        source,
    })
}
