//! Type-erased registries: [`SharedRegistry`].

use std::{fmt, sync::Arc};

use futures_core::future::BoxFuture;

use super::Registry;
use crate::{InstanceRef, Lease, Query, Registration, RegistryError, Watch, WatchScope};

/// A type-erased registry that is cheap to clone. Use this type for a field without a type
/// parameter. Clones are handles to the same registry.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{LocalRegistry, SharedRegistry};
///
/// let registry = SharedRegistry::new(LocalRegistry::new());
/// let same = registry.clone();
/// ```
#[derive(Clone)]
pub struct SharedRegistry(Arc<dyn DynRegistry>);

impl SharedRegistry {
    /// Creates a type-erased registry.
    #[must_use]
    pub fn new(registry: impl Registry) -> Self {
        Self(Arc::new(registry))
    }
}

impl Registry for SharedRegistry {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        self.0.register(registration).await
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.0.unregister(which).await
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.0.heartbeat(which).await
    }

    async fn lookup(&self, name: &str) -> Result<Registrations, RegistryError> {
        self.0.lookup(name).await
    }

    async fn list(&self) -> Result<Registrations, RegistryError> {
        self.0.list().await
    }

    async fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> Result<Registrations, RegistryError> {
        self.0.list_after(name, count).await
    }

    async fn find(&self, query: impl Into<Query> + Send) -> Result<Registrations, RegistryError> {
        self.0.find(query.into()).await
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        self.0.watch(scope)
    }
}

impl fmt::Debug for SharedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRegistry").finish_non_exhaustive()
    }
}

/// The dyn-compatible form of [`Registry`], which is implemented for every registry.
trait DynRegistry: Send + Sync {
    fn register(&self, registration: Registration) -> ResultFuture<'_, Lease>;
    fn unregister<'a>(&'a self, which: &'a InstanceRef) -> ResultFuture<'a, ()>;
    fn heartbeat<'a>(&'a self, which: &'a InstanceRef) -> ResultFuture<'a, ()>;
    fn lookup<'a>(&'a self, name: &'a str) -> ResultFuture<'a, Registrations>;
    fn list(&self) -> ResultFuture<'_, Registrations>;
    fn list_after<'a>(
        &'a self,
        name: Option<&'a str>,
        count: usize,
    ) -> ResultFuture<'a, Registrations>;
    fn find(&self, query: Query) -> ResultFuture<'_, Registrations>;
    fn watch(&self, scope: WatchScope) -> Watch;
}

impl<R: Registry> DynRegistry for R {
    fn register(&self, registration: Registration) -> ResultFuture<'_, Lease> {
        Box::pin(Registry::register(self, registration))
    }

    fn unregister<'a>(&'a self, which: &'a InstanceRef) -> ResultFuture<'a, ()> {
        Box::pin(Registry::unregister(self, which))
    }

    fn heartbeat<'a>(&'a self, which: &'a InstanceRef) -> ResultFuture<'a, ()> {
        Box::pin(Registry::heartbeat(self, which))
    }

    fn lookup<'a>(&'a self, name: &'a str) -> ResultFuture<'a, Registrations> {
        Box::pin(Registry::lookup(self, name))
    }

    fn list(&self) -> ResultFuture<'_, Registrations> {
        Box::pin(Registry::list(self))
    }

    fn list_after<'a>(
        &'a self,
        name: Option<&'a str>,
        count: usize,
    ) -> ResultFuture<'a, Registrations> {
        Box::pin(Registry::list_after(self, name, count))
    }

    fn find(&self, query: Query) -> ResultFuture<'_, Registrations> {
        Box::pin(Registry::find(self, query))
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        Registry::watch(self, scope)
    }
}

type ResultFuture<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;
type Registrations = Vec<Arc<Registration>>;
