//! Listeners, which accept connections over any carrier.

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
use crate::{
    Connection, Endpoint, Error, SocketAccess, TcpOptions, memory::MemoryListener, tcp::TcpAcceptor,
};

/// A listener that accepts connections over any carrier.
///
/// Dropping the listener stops listening. Connections in the accept queue are closed, and accepted
/// connections remain open. [`bind`](Self::bind) creates the file of a Unix socket. Dropping the
/// listener removes this file unless another file has replaced it.
///
/// The listeners of Tokio and the standard library can be converted, for example sockets that
/// systemd passes to a service. The conversion does not change the file or the mode of a Unix
/// socket:
///
/// ```
/// # mod agentwire { pub extern crate agentwire_transport as transport; }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use agentwire::transport::Listener;
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
    /// Creates a listener on an endpoint of a built-in carrier.
    ///
    /// For a TCP host name, the listener uses all addresses of the name with the same port. For
    /// example, `tcp://localhost:0` listens on 127.0.0.1 and on ::1. Addresses that the machine
    /// does not have are omitted.
    ///
    /// # Errors
    ///
    /// Returns [`Error::PathInUse`], [`Error::NameInUse`] or [`Error::Bind`] if the address is in
    /// use or not available. [`Error::is_in_use`] returns true if the address is in use. Returns
    /// [`Error::DirectoryLocked`] if another process holds the lock on the directory of the socket
    /// for 5 seconds. Returns [`Error::NoCarrier`] if no built-in carrier supports the endpoint,
    /// and [`Error::MissingFeature`] without the feature of the carrier.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the bind is cancelled. Directories that were created are kept, and
    /// a stale socket file may have been removed.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, Error> {
        Self::bind_with(endpoint, &SocketAccess::default()).await
    }

    /// Creates a listener on an endpoint. A Unix socket is accessible to the users in `access`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// The same as for [`bind`](Self::bind).
    pub async fn bind_with(endpoint: &Endpoint, access: &SocketAccess) -> Result<Self, Error> {
        #[cfg(not(unix))]
        let _ = access;
        let mut endpoint = endpoint.clone();
        let inner = match &mut endpoint {
            #[cfg(unix)]
            Endpoint::Unix { path } => Inner::Unix(UnixAcceptor::bind(path, access).await?),
            Endpoint::Tcp { host, port, .. } => {
                let (acceptor, bound) = match TcpAcceptor::bind(host, *port).await {
                    Ok(bound) => bound,
                    Err(source) => return Err(Error::Bind { endpoint, source }),
                };
                *port = bound;
                Inner::Tcp(acceptor)
            }
            Endpoint::Tls { .. } => return Err(no_certificate(endpoint)),
            Endpoint::Memory { name } => Inner::Memory(MemoryListener::bind(name)?),
            #[cfg(feature = "websocket")]
            Endpoint::Url(url) if url.scheme == crate::UrlScheme::Ws => {
                let (acceptor, bound) = match TcpAcceptor::bind(&url.host, url.port).await {
                    Ok(bound) => bound,
                    Err(source) => return Err(Error::Bind { endpoint, source }),
                };
                url.port = bound;
                Inner::WebSocket {
                    acceptor,
                    options: crate::WebSocketOptions::new(),
                    #[cfg(feature = "tls")]
                    tls: None,
                }
            }
            #[cfg(feature = "websocket")]
            Endpoint::Url(url) if url.scheme.is_websocket() => {
                return Err(no_certificate(endpoint));
            }
            Endpoint::Url(url) => {
                return Err(Error::MissingFeature {
                    carrier: url.scheme.carrier(),
                    features: url.scheme.features(),
                    endpoint,
                });
            }
            _ => return Err(Error::NoCarrier { endpoint }),
        };
        Ok(Self { inner, endpoint })
    }

    /// Creates a listener on a `tls://` or `wss://` endpoint.
    ///
    /// The listener accepts connections before their handshake. Await
    /// [`Connection::handshake`] in the task of each connection.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`bind`](Self::bind), and [`Error::TlsSetup`] if the endpoint is
    /// not a TLS endpoint.
    ///
    /// # Cancel safety
    ///
    /// The same as for [`bind`](Self::bind).
    #[cfg(feature = "tls")]
    pub async fn bind_tls(endpoint: &Endpoint, tls: crate::TlsServer) -> Result<Self, Error> {
        let (host, port) = match endpoint {
            Endpoint::Tls { host, port } => (host, *port),
            #[cfg(feature = "websocket")]
            Endpoint::Url(url) if url.scheme == crate::UrlScheme::Wss => (&url.host, url.port),
            _ => {
                return Err(Error::TlsSetup {
                    problem: format!("{endpoint} is not a TLS endpoint"),
                });
            }
        };
        let (acceptor, bound) = match TcpAcceptor::bind(host, port).await {
            Ok(bound) => bound,
            Err(source) => {
                return Err(Error::Bind {
                    endpoint: endpoint.clone(),
                    source,
                });
            }
        };
        let inner = match endpoint {
            #[cfg(feature = "websocket")]
            Endpoint::Url(_) => Inner::WebSocket {
                acceptor,
                options: crate::WebSocketOptions::new(),
                // WebSocket over TLS has no protocol name (ALPN).
                tls: Some(tls.protocols(&[])),
            },
            _ => Inner::Tls(acceptor, tls),
        };
        Ok(Self {
            inner,
            endpoint: endpoint.clone().with_port(bound),
        })
    }

    /// Converts a TCP listener, for example one of socket activation, into a TLS listener.
    ///
    /// # Errors
    ///
    /// Returns [`Error::TlsSetup`] if this is not a TCP listener.
    #[cfg(feature = "tls")]
    pub fn with_tls(self, tls: crate::TlsServer) -> Result<Self, Error> {
        match (self.inner, self.endpoint) {
            (Inner::Tcp(acceptor), Endpoint::Tcp { host, port, .. }) => Ok(Self {
                inner: Inner::Tls(acceptor, tls),
                endpoint: Endpoint::tls(host, port)?,
            }),
            (_, endpoint) => Err(Error::TlsSetup {
                problem: format!("{endpoint} is not a TCP listener"),
            }),
        }
    }

    /// Creates a listener for a custom carrier.
    pub fn custom(accept: impl Accept) -> Self {
        let endpoint = accept.endpoint().clone();
        Self {
            inner: Inner::Custom(Box::new(accept)),
            endpoint,
        }
    }

    /// Sets the options of the TCP connections that this listener accepts. Listeners of other
    /// carriers ignore the options.
    #[must_use]
    pub fn with_tcp_options(mut self, options: TcpOptions) -> Self {
        match &mut self.inner {
            Inner::Tcp(acceptor) => acceptor.set_options(options),
            #[cfg(feature = "tls")]
            Inner::Tls(acceptor, _) => acceptor.set_options(options),
            #[cfg(feature = "websocket")]
            Inner::WebSocket { acceptor, .. } => acceptor.set_options(options),
            _ => {}
        }
        self
    }

    /// Sets the options of the WebSocket connections that this listener accepts. Listeners of other
    /// carriers ignore the options.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn with_websocket_options(mut self, new: crate::WebSocketOptions) -> Self {
        if let Inner::WebSocket { options, .. } = &mut self.inner {
            *options = new;
        }
        self
    }

    /// Returns the endpoint that clients connect to. If the listener was bound to port 0, the
    /// endpoint contains the port that the system chose.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Accept`] if no connection can be accepted. If [`Error::is_transient`]
    /// returns true, pause briefly and then accept again.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. If the future is dropped, no connection is lost.
    pub async fn accept(&mut self) -> Result<Connection, Error> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next connection. Only the waker from the most recent call is woken.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`accept`](Self::accept).
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Error>> {
        let accepted = match &mut self.inner {
            #[cfg(unix)]
            Inner::Unix(acceptor) => acceptor.poll_accept(cx),
            Inner::Tcp(acceptor) => acceptor.poll_accept(cx),
            #[cfg(feature = "tls")]
            Inner::Tls(acceptor, tls) => acceptor
                .poll_accept(cx)
                .map_ok(|connection| connection.accept_tls(tls.config())),
            #[cfg(feature = "websocket")]
            Inner::WebSocket {
                acceptor,
                options,
                #[cfg(feature = "tls")]
                tls,
            } => acceptor.poll_accept(cx).map_ok(|connection| {
                #[cfg(feature = "tls")]
                let connection = match tls {
                    Some(tls) => connection.accept_tls(tls.config()),
                    None => connection,
                };
                connection.accept_websocket(options)
            }),
            Inner::Memory(listener) => listener.poll_accept(cx),
            Inner::Custom(accept) => return accept.poll_accept(cx),
        };
        accepted.map_err(|source| Error::Accept {
            endpoint: self.endpoint.clone(),
            source,
        })
    }

    /// Stops listening. Calling this method is equivalent to dropping the listener.
    pub fn close(self) {
        drop(self);
    }
}

/// Converts a listener that is already bound.
///
/// # Errors
///
/// Returns [`Error::InvalidSocket`] if the address of the socket cannot be read.
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

/// Converts a listener that is already bound, and sets it to non-blocking mode.
///
/// # Errors
///
/// Returns [`Error::InvalidSocket`] if the runtime cannot use the socket or the address of the
/// socket cannot be read.
///
/// # Panics
///
/// Panics if called outside a Tokio runtime that has I/O enabled.
impl TryFrom<net::TcpListener> for Listener {
    type Error = Error;

    fn try_from(listener: net::TcpListener) -> Result<Self, Error> {
        listener.set_nonblocking(true).map_err(invalid)?;
        TcpListener::from_std(listener).map_err(invalid)?.try_into()
    }
}

/// Converts a listener that is already bound. Dropping the result does not remove the socket file.
///
/// # Errors
///
/// Returns [`Error::InvalidSocket`] if the socket is abstract or unnamed, because such sockets have
/// no endpoint.
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

/// Converts a listener that is already bound, and sets it to non-blocking mode. Dropping the result
/// does not remove the socket file.
///
/// # Errors
///
/// Returns [`Error::InvalidSocket`] if the runtime cannot use the socket, or if the socket is
/// abstract or unnamed, because such sockets have no endpoint.
///
/// # Panics
///
/// Panics if called outside a Tokio runtime that has I/O enabled.
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
/// Dropping the value must stop listening.
pub trait Accept: Debug + Send + 'static {
    /// Returns the endpoint that clients connect to. [`Listener::custom`] calls this method once.
    fn endpoint(&self) -> &Endpoint;

    /// Polls for the next connection.
    ///
    /// A connection must not be lost between two calls. After an error, the next call must either
    /// accept connections again or return an error again.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Accept`]. The kind of its source determines the result of
    /// [`Error::is_transient`].
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Error>>;
}

enum Inner {
    #[cfg(unix)]
    Unix(UnixAcceptor),
    Tcp(TcpAcceptor),
    #[cfg(feature = "tls")]
    Tls(TcpAcceptor, crate::TlsServer),
    #[cfg(feature = "websocket")]
    WebSocket {
        acceptor: TcpAcceptor,
        options: crate::WebSocketOptions,
        #[cfg(feature = "tls")]
        tls: Option<crate::TlsServer>,
    },
    Memory(MemoryListener),
    Custom(Box<dyn Accept>),
}

fn no_certificate(endpoint: Endpoint) -> Error {
    #[cfg(feature = "tls")]
    return Error::TlsSetup {
        problem: format!("{endpoint} needs a certificate; set a `TlsServer`"),
    };
    #[cfg(not(feature = "tls"))]
    Error::MissingFeature {
        endpoint,
        carrier: "TLS",
        features: crate::error::TLS_FEATURES,
    }
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
