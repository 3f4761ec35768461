mod builder;
mod listing;
mod service;

use std::fmt;

use agentwire_registry::Registry;
use agentwire_transport::{Endpoint, Error as TransportError};
use tokio_util::sync::CancellationToken;

pub use self::builder::RegistryServerBuilder;
use crate::{Error, server::ServerTasks};

/// A registry that is being served on an endpoint, for other processes, whatever they are written in.
///
/// It serves from the moment it is made until it is stopped. Dropping it aborts what is in flight. What is
/// registered belongs to the registry behind it and stays there.
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
    /// Ends watches, which would not end by themselves.
    drain: CancellationToken,
}

impl RegistryServer {
    /// Serves a registry with default settings.
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

    /// Settings for serving a registry.
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

    /// Stops gracefully: no more connections and requests are accepted, those in flight are answered, and watches
    /// end. What is not answered within the [shutdown timeout](RegistryServerBuilder::shutdown_timeout) is dropped.
    ///
    /// It returns when all is done: no task is left, and no socket file.
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
