//! A server that makes a registry available to other processes.

mod builder;
mod listing;
mod quota;
mod reader;
mod service;

use std::fmt;

use agentwire_registry::Registry;
use agentwire_transport::{Endpoint, Error as TransportError};
use tokio_util::sync::CancellationToken;

pub use self::builder::RegistryServerBuilder;
use crate::{Error, server::ServerTasks};

/// A server that makes a registry available to other processes, in any language.
///
/// The server runs until it is stopped or dropped. Dropping the server aborts all requests in
/// flight. Stopping the server does not remove the registrations from the served registry.
///
/// ```
/// use agentwire::registry::{
///     LocalRegistry, Registration, Registry, RegistryServer, RemoteRegistry,
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = RegistryServer::serve(LocalRegistry::new(), "memory://registry-server-page").await?;
///
/// let registry = RemoteRegistry::new(server.endpoint())?;
/// registry.register(Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)).await?;
/// assert_eq!(registry.lookup("weather").await?.len(), 1);
/// server.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct RegistryServer {
    tasks: ServerTasks,
    /// Ends all watches at shutdown, because watches do not end by themselves.
    drain: CancellationToken,
}

impl RegistryServer {
    /// Starts a server for `registry` at `endpoint`, with default settings.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`RegistryServerBuilder::serve`].
    ///
    /// # Panics
    ///
    /// Panics if called outside a tokio runtime with I/O and time enabled.
    pub async fn serve<E>(registry: impl Registry, endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(registry).endpoint(endpoint).serve().await
    }

    /// Returns a builder for a server that serves `registry`.
    pub fn builder(registry: impl Registry) -> RegistryServerBuilder {
        RegistryServerBuilder::new(registry)
    }

    /// Returns the first endpoint of the server. If the operating system chose the port, the
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

    /// Stops the server gracefully. The server stops accepting connections and requests, ends all
    /// watches, and answers the requests in flight. Requests that are not answered within the
    /// [shutdown timeout](RegistryServerBuilder::shutdown_timeout) are dropped.
    ///
    /// Returns when all tasks of the server have ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server continues to drain without a timeout. Call `stop` or
    /// [`abort`](Self::abort) to finish the shutdown.
    pub async fn stop(&self) {
        self.drain.cancel();
        self.tasks.stop().await;
    }

    /// Stops the server immediately. Requests in flight are dropped, and all connections are
    /// closed. Returns when all tasks of the server have ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server still stops.
    pub async fn abort(&self) {
        self.tasks.abort().await;
    }

    /// Waits until the server has been stopped or aborted. Returns when all tasks of the server
    /// have ended and its socket files are removed.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. It only waits for the server to stop.
    pub async fn stopped(&self) {
        self.tasks.stopped().await;
    }
}

impl fmt::Debug for RegistryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryServer")
            .field("endpoints", &self.endpoints())
            .finish_non_exhaustive()
    }
}
