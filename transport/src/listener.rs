//! Accepts connections over any carrier.

use std::{
    fmt::{self, Debug},
    future::poll_fn,
    io, net,
    task::{Context, Poll},
};

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

#[cfg(unix)]
use crate::unix::UnixAcceptor;
use crate::{Connection, Endpoint, Error, TcpOptions, memory::MemoryListener, tcp::TcpAcceptor};

/// Accepts connections, over any carrier.
///
/// Dropping it stops listening. Connections that wait to be accepted are closed; accepted ones
/// continue. [`bind`](Self::bind) creates the file of a Unix socket, and dropping the listener
/// removes the file unless another one has taken its place.
///
/// Tokio's and std's listeners convert, for example the sockets that systemd passes to a service.
/// A Unix socket that was bound elsewhere keeps its file and its mode:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use agentwire_transport::Listener;
///
/// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let listener = Listener::try_from(socket)?;
/// assert!(listener.endpoint().to_string().starts_with("tcp://127.0.0.1:"));
/// # Ok(())
/// # }
/// ```
pub struct Listener {
    inner: Inner,
    endpoint: Endpoint,
}

impl Listener {
    /// Listens on an endpoint of a built-in carrier.
    ///
    /// A TCP host name is served on all of its addresses and on one port: `tcp://localhost:0` on
    /// 127.0.0.1 and on ::1. Addresses that the machine does not have are left out.
    ///
    /// # Errors
    ///
    /// [`Error::PathInUse`], [`Error::NameInUse`] or [`Error::Bind`] if the address is taken or not
    /// available; [`Error::is_in_use`] covers all that are taken. [`Error::DirectoryLocked`] if
    /// another process holds the lock of the socket's directory for 5 seconds.
    /// [`Error::NoCarrier`] for a custom endpoint.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the bind. Directories that it created stay, and a stale socket
    /// file may have been removed.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, Error> {
        let mut endpoint = endpoint.clone();
        let inner = match &mut endpoint {
            #[cfg(unix)]
            Endpoint::Unix { path } => Inner::Unix(UnixAcceptor::bind(path).await?),
            Endpoint::Tcp { host, port } => {
                let (acceptor, bound) = match TcpAcceptor::bind(host, *port).await {
                    Ok(bound) => bound,
                    Err(source) => return Err(Error::Bind { endpoint, source }),
                };
                *port = bound;
                Inner::Tcp(acceptor)
            }
            Endpoint::Memory { name } => Inner::Memory(MemoryListener::bind(name)?),
            _ => return Err(Error::NoCarrier { endpoint }),
        };
        Ok(Self { inner, endpoint })
    }

    /// Listens over a custom carrier.
    pub fn custom(accept: impl Accept) -> Self {
        let endpoint = accept.endpoint().clone();
        Self {
            inner: Inner::Custom(Box::new(accept)),
            endpoint,
        }
    }

    /// Sets the options of the TCP connections that this listener accepts. Listeners of other
    /// carriers ignore them.
    #[must_use]
    pub fn with_tcp_options(mut self, options: TcpOptions) -> Self {
        if let Inner::Tcp(acceptor) = &mut self.inner {
            acceptor.set_options(options);
        }
        self
    }

    /// Returns the endpoint that clients connect to. If it was bound with port 0, this is the port
    /// that the system chose.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// [`Error::Accept`]. If [`Error::is_transient`] is true, pause briefly and accept again.
    ///
    /// # Cancel safety
    ///
    /// Safe: no connection is lost when the future is dropped.
    pub async fn accept(&mut self) -> Result<Connection, Error> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next connection. Only the waker of the latest call is woken.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept).
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Error>> {
        let accepted = match &mut self.inner {
            #[cfg(unix)]
            Inner::Unix(acceptor) => acceptor.poll_accept(cx),
            Inner::Tcp(acceptor) => acceptor.poll_accept(cx),
            Inner::Memory(listener) => listener.poll_accept(cx),
            Inner::Custom(accept) => return accept.poll_accept(cx),
        };
        accepted.map_err(|source| Error::Accept {
            endpoint: self.endpoint.clone(),
            source,
        })
    }

    /// Stops listening, as dropping the listener does.
    pub fn close(self) {
        drop(self);
    }
}

/// Takes over a listener that is bound already.
///
/// # Errors
///
/// [`Error::InvalidSocket`] if the system does not report the socket's address.
impl TryFrom<TcpListener> for Listener {
    type Error = Error;

    fn try_from(listener: TcpListener) -> Result<Self, Error> {
        let (acceptor, endpoint) = TcpAcceptor::adopt(listener).map_err(invalid)?;
        Ok(Self {
            inner: Inner::Tcp(acceptor),
            endpoint,
        })
    }
}

/// Takes over a listener that is bound already, and makes it non-blocking.
///
/// # Errors
///
/// [`Error::InvalidSocket`] if the runtime cannot use the socket.
///
/// # Panics
///
/// Outside a Tokio runtime with I/O enabled.
impl TryFrom<net::TcpListener> for Listener {
    type Error = Error;

    fn try_from(listener: net::TcpListener) -> Result<Self, Error> {
        listener.set_nonblocking(true).map_err(invalid)?;
        TcpListener::from_std(listener).map_err(invalid)?.try_into()
    }
}

/// Takes over a listener that is bound already. Dropping the result leaves the socket's file in
/// place.
///
/// # Errors
///
/// [`Error::InvalidSocket`] for an abstract or unnamed socket, which no endpoint names.
#[cfg(unix)]
impl TryFrom<UnixListener> for Listener {
    type Error = Error;

    fn try_from(listener: UnixListener) -> Result<Self, Error> {
        let (acceptor, endpoint) = UnixAcceptor::adopt(listener).map_err(invalid)?;
        Ok(Self {
            inner: Inner::Unix(acceptor),
            endpoint,
        })
    }
}

/// Takes over a listener that is bound already, and makes it non-blocking. Dropping the result
/// leaves the socket's file in place.
///
/// # Errors
///
/// [`Error::InvalidSocket`] if the runtime cannot use the socket, and for an abstract or unnamed
/// socket, which no endpoint names.
///
/// # Panics
///
/// Outside a Tokio runtime with I/O enabled.
#[cfg(unix)]
impl TryFrom<std::os::unix::net::UnixListener> for Listener {
    type Error = Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> Result<Self, Error> {
        listener.set_nonblocking(true).map_err(invalid)?;
        UnixListener::from_std(listener)
            .map_err(invalid)?
            .try_into()
    }
}

impl Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The accepting side of a custom carrier. See [`Listener::custom`].
///
/// Dropping it must stop listening.
pub trait Accept: Debug + Send + 'static {
    /// Returns the endpoint that clients connect to. [`Listener::custom`] calls this once.
    fn endpoint(&self) -> &Endpoint;

    /// Polls for the next connection.
    ///
    /// A connection must not be lost between two calls. After an error, the next call must either
    /// continue or fail again.
    ///
    /// # Errors
    ///
    /// [`Error::Accept`], with a source whose kind determines [`Error::is_transient`].
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Error>>;
}

enum Inner {
    #[cfg(unix)]
    Unix(UnixAcceptor),
    Tcp(TcpAcceptor),
    Memory(MemoryListener),
    Custom(Box<dyn Accept>),
}

fn invalid(source: io::Error) -> Error {
    Error::InvalidSocket { source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_and_their_futures_can_move_between_threads() {
        fn check<T: Send>(_: T) {}
        let endpoint = Endpoint::memory("send").expect("endpoint");
        check(Listener::bind(&endpoint));
        check(crate::connect(&endpoint));
        let mut listener = Listener::custom(Never(Endpoint::custom("never")));
        check(listener.accept());
        check(listener);
    }

    #[derive(Debug)]
    struct Never(Endpoint);

    impl Accept for Never {
        fn endpoint(&self) -> &Endpoint {
            &self.0
        }

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<Result<Connection, Error>> {
            Poll::Pending
        }
    }
}
