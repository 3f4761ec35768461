//! Forwards requests from one endpoint to another.

mod builder;
mod service;

use std::fmt;

use agentwire_transport::{Endpoint, Error as TransportError};
use tokio_util::sync::CancellationToken;

pub use self::builder::ProxyBuilder;
use crate::{
    Error,
    client::{FixedEndpoint, RemoteAgentBuilder},
    server::ServerTasks,
};

/// A server that forwards every request to one target, and every answer back.
///
/// A proxy connects what cannot reach each other: TCP and Unix sockets, or two networks. The target
/// may be a server of agents and tools or a registry, in any language. The proxy does not
/// interpret requests: it passes on names, methods, keys and errors that it does not know
/// (PROTOCOL 2.10).
///
/// It never sends a request twice, because only the caller knows whether that is safe. If the
/// target gives no answer, the caller gets an error that does not reveal the endpoint of the
/// target; the log of the proxy has the cause.
///
/// The proxy runs until it is stopped. Dropping it aborts the requests in flight.
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
pub struct Proxy {
    tasks: ServerTasks,
    /// Ends watches at shutdown; they do not end by themselves.
    drain: CancellationToken,
}

impl Proxy {
    /// Serves a proxy on one endpoint, with default settings.
    ///
    /// # Errors
    ///
    /// As [`ProxyBuilder::serve`].
    ///
    /// # Panics
    ///
    /// As [`ProxyBuilder::serve`].
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

    /// Returns a builder for a proxy to this target.
    ///
    /// The settings of `target` apply, with two exceptions. Its retry policy is ignored. Its
    /// [`name`](RemoteAgentBuilder::name) is given only to requests that name no agent.
    /// Streams, and requests with an unknown method, have
    /// [as many connections](RemoteAgentBuilder::max_connections) of their own, so that they
    /// never hold up calls.
    pub fn builder(target: RemoteAgentBuilder<FixedEndpoint>) -> ProxyBuilder {
        ProxyBuilder::new(target)
    }

    /// Returns the endpoint that the proxy listens on, with the real port if the system chose one.
    /// Of several, it is the first.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        // There is at least one.
        &self.endpoints()[0]
    }

    /// Returns all endpoints, in the order in which the builder got them.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        self.tasks.endpoints()
    }

    /// Stops gracefully: accepts no more connections and requests, waits for the answers to those
    /// in flight, and ends watches of registries. Requests that are not answered within the
    /// [shutdown timeout](ProxyBuilder::shutdown_timeout) are dropped.
    ///
    /// Returns when no task and no socket file is left.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the proxy keeps draining, without a limit in time. Call this or
    /// [`abort`](Self::abort) again.
    pub async fn stop(&self) {
        self.drain.cancel();
        self.tasks.stop().await;
    }

    /// Stops at once: drops what is in flight and closes all connections. Returns when no task and
    /// no socket file is left.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the proxy stops all the same.
    pub async fn abort(&self) {
        self.tasks.abort().await;
    }

    /// Waits until the proxy has been stopped or aborted, by whichever task, and no task and no
    /// socket file is left.
    ///
    /// # Cancel safety
    ///
    /// Safe: the future only waits.
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
