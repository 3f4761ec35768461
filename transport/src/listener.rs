use std::fmt::{self, Debug};
use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::memory::MemoryListener;
use crate::tcp::TcpAcceptor;
#[cfg(unix)]
use crate::unix::UnixAcceptor;
use crate::{Connection, Endpoint, Error};

/// Takes in connections, over any transport.
///
/// Dropping it stops listening. Connections that were not accepted yet are closed, accepted ones
/// go on. A Unix listener removes its socket file, unless the file is another one by then.
pub struct Listener {
    inner: Inner,
    endpoint: Endpoint,
}

impl Listener {
    /// Listens on an endpoint of a built-in transport.
    ///
    /// # Errors
    ///
    /// [`Error::PathInUse`], [`Error::NameInUse`] or [`Error::Bind`] if the address cannot be
    /// taken; [`Error::is_in_use`] covers what they have in common. [`Error::DirectoryLocked`] if
    /// the turn of this process does not come within 5 seconds. [`Error::NoTransport`] for a
    /// custom endpoint.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind but directories that it made, and what was stale
    /// may be gone.
    pub async fn bind(endpoint: &Endpoint) -> Result<Self, Error> {
        let mut endpoint = endpoint.clone();
        let inner = match &mut endpoint {
            #[cfg(unix)]
            Endpoint::Unix { path } => Inner::Unix(UnixAcceptor::bind(path).await?),
            Endpoint::Tcp { host, port } => {
                let acceptor = match TcpAcceptor::bind(host, *port).await {
                    Ok(acceptor) => acceptor,
                    Err(source) => return Err(Error::Bind { endpoint, source }),
                };
                *port = acceptor.port();
                Inner::Tcp(acceptor)
            }
            Endpoint::Memory { name } => Inner::Memory(MemoryListener::bind(name)?),
            _ => return Err(Error::NoTransport { endpoint }),
        };
        Ok(Self { inner, endpoint })
    }

    /// Listens on a transport of your own.
    pub fn custom(accept: impl Accept) -> Self {
        let endpoint = accept.endpoint().clone();
        Self {
            inner: Inner::Custom(Box::new(accept)),
            endpoint,
        }
    }

    /// The endpoint that clients connect to: where port 0 was asked for, with the port it became.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    ///
    /// [`Error::Accept`]. If it [is transient](Error::is_transient), wait a little and accept
    /// again.
    ///
    /// # Cancel safety
    ///
    /// Safe: no connection is lost when the future is dropped.
    pub async fn accept(&mut self) -> Result<Connection, Error> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Polls for the next connection. Only the waker of the last call is woken.
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

    /// Stops listening, as dropping does.
    pub fn close(self) {
        drop(self);
    }
}

impl Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

enum Inner {
    #[cfg(unix)]
    Unix(UnixAcceptor),
    Tcp(TcpAcceptor),
    Memory(MemoryListener),
    Custom(Box<dyn Accept>),
}

/// The accepting side of a transport of your own. See [`Listener::custom`].
///
/// Dropping it must stop listening.
pub trait Accept: Debug + Send + 'static {
    /// Where clients connect to. It is asked once, when the listener is made.
    fn endpoint(&self) -> &Endpoint;

    /// Polls for the next connection. A connection must not be lost between two calls, and after
    /// an error, the next call must be able to go on or to fail again.
    ///
    /// # Errors
    ///
    /// [`Error::Accept`], with a source whose kind tells whether it
    /// [is transient](Error::is_transient).
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Connection, Error>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_and_connecting_can_move_between_threads() {
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
