//! Serves a registry to other processes.

mod builder;
mod listing;
mod service;

use std::fmt;

use agentwire_registry::Registry;
use agentwire_transport::{Endpoint, Error as TransportError};
use tokio_util::sync::CancellationToken;

pub use self::builder::RegistryServerBuilder;
use crate::{Error, server::ServerTasks};

/// A registry that is served to other processes, in any language.
///
/// The server runs until it is stopped. Dropping it aborts the requests in flight. Registrations
/// belong to the registry behind the server and stay there.
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
    /// Ends watches at shutdown; they do not end by themselves.
    drain: CancellationToken,
}

impl RegistryServer {
    /// Serves `registry` at `endpoint`, with default settings.
    ///
    /// # Errors
    ///
    /// As [`RegistryServerBuilder::serve`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with I/O and time enabled.
    pub async fn serve<E>(registry: impl Registry, endpoint: E) -> Result<Self, Error>
    where
        E: TryInto<Endpoint>,
        TransportError: From<E::Error>,
    {
        Self::builder(registry).endpoint(endpoint).serve().await
    }

    /// Returns a builder for a server of `registry`.
    pub fn builder(registry: impl Registry) -> RegistryServerBuilder {
        RegistryServerBuilder::new(registry)
    }

    /// Returns the endpoint, with the real port if the system chose one. Of several, it is the
    /// first.
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

    /// Stops gracefully: accepts no more connections and requests, answers those in flight, and
    /// ends watches. Requests that are not answered within the [shutdown
    /// timeout](RegistryServerBuilder::shutdown_timeout) are dropped.
    ///
    /// Returns when no task and no socket file is left.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server keeps draining, without a limit in time; call this or
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
    /// If the future is dropped, the server stops all the same.
    pub async fn abort(&self) {
        self.tasks.abort().await;
    }

    /// Waits until the server has been stopped or aborted, by whichever task, and no task and no
    /// socket file is left.
    ///
    /// # Cancel safety
    ///
    /// Safe: the future only waits.
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
