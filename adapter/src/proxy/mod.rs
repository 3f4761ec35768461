//! A server that forwards requests to another endpoint: [`Proxy`].

mod builder;
mod service;
mod target;

use std::fmt;

use agentwire_transport::{Endpoint, Error as TransportError};
use tokio_util::sync::CancellationToken;

pub use self::{builder::ProxyBuilder, target::ProxyTarget};
use crate::{Error, client::RemoteAgentBuilder, server::ServerTasks};

/// A server that forwards every request to a target and returns every answer to the caller.
///
/// A proxy gives clients access to a server that they cannot reach directly, for example a server
/// on a Unix socket or in another network. The target may be a server of agents or a registry,
/// written in any language. The proxy does not interpret requests, so it also forwards unknown
/// names, methods, keys and errors ([PROTOCOL 2.10]). It replaces idempotency keys, so that each of
/// its callers has keys of its own ([PROTOCOL 16.3]).
///
/// The proxy never repeats a request that the target may have seen, because only the caller knows
/// whether repeating a request is safe. If the target does not answer, the caller receives an error
/// that does not reveal the endpoint of the target. The proxy logs the cause.
///
/// The proxy runs until it is stopped or dropped. Dropping the proxy aborts the requests in flight.
///
/// ```
/// use agentwire::{LocalAgent, Message, Proxy, RemoteAgent, agent_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::Error> {
/// let echo = agent_fn("echo", |message: Message| async move { Ok(message) });
/// let server = LocalAgent::serve(echo, "memory://proxy-page-target").await?;
///
/// let target = RemoteAgent::builder(server.endpoint());
/// let proxy = Proxy::builder(target).endpoint("memory://proxy-page").serve().await?;
///
/// let reply = RemoteAgent::new(proxy.endpoint())?.process(Message::user("hello")).await?;
/// assert_eq!(reply.text(), Some("hello"));
/// proxy.stop().await;
/// # Ok(())
/// # }
/// ```
///
/// [PROTOCOL 2.10]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
/// [PROTOCOL 16.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#16-keys-of-our-own
pub struct Proxy {
    tasks: ServerTasks,
    /// Ends all watches at shutdown, because watches do not end by themselves.
    drain: CancellationToken,
}

impl Proxy {
    /// Starts a proxy on one endpoint, with default settings.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`ProxyBuilder::serve`].
    ///
    /// # Panics
    ///
    /// Panics under the same conditions as [`ProxyBuilder::serve`].
    pub async fn serve<T, E>(target: T, endpoint: E) -> Result<Self, Error>
    where
        T: TryInto<Endpoint>,
        E: TryInto<Endpoint>,
        TransportError: From<T::Error> + From<E::Error>,
    {
        Self::builder(RemoteAgentBuilder::new(target))
            .endpoint(endpoint)
            .serve()
            .await
    }

    /// Returns a builder for a proxy that forwards requests to `target`, which is built like a
    /// client: by [`RemoteAgent::builder`](crate::RemoteAgent::builder) for one endpoint, or by
    /// [`RemoteAgent::discover`](crate::RemoteAgent::discover) for the instances of an agent. If an
    /// instance cannot be reached, or is stopping, the request goes to another instance.
    ///
    /// The settings of `target` apply, with two exceptions. The retry policy is ignored. The
    /// [`name`](RemoteAgentBuilder::name) is added only to requests that do not name an agent.
    ///
    /// Streams and requests with an unknown method use separate connections, so that they never
    /// delay calls. The limit [`max_connections`](RemoteAgentBuilder::max_connections) applies
    /// separately to the two groups of connections.
    pub fn builder(target: impl Into<ProxyTarget>) -> ProxyBuilder {
        ProxyBuilder::new(target.into())
    }

    /// Returns the first endpoint of the proxy. If the operating system chose the port, the
    /// endpoint contains the chosen port.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        // The builder requires at least one endpoint.
        &self.endpoints()[0]
    }

    /// Returns all endpoints, in the order in which they were added to the builder.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        self.tasks.endpoints()
    }

    /// Stops the proxy gracefully. The proxy stops accepting connections and requests, ends all
    /// registry watches, and waits for the requests in flight. Requests that are not answered
    /// within the [shutdown timeout](ProxyBuilder::shutdown_timeout) are dropped.
    ///
    /// Returns when all tasks of the proxy have ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the proxy continues to drain without a timeout. Call `stop` or
    /// [`abort`](Self::abort) to finish the shutdown.
    pub async fn stop(&self) {
        self.drain.cancel();
        self.tasks.stop().await;
    }

    /// Stops the proxy immediately. Requests in flight are dropped, and all connections are closed.
    /// Returns when all tasks of the proxy have ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the proxy still stops.
    pub async fn abort(&self) {
        self.tasks.abort().await;
    }

    /// Waits until the proxy has been stopped or aborted. Returns when all tasks of the proxy have
    /// ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. It only waits for the proxy to stop.
    pub async fn stopped(&self) {
        self.tasks.stopped().await;
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}
