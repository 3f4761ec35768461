//! A registry that delegates to another, with hooks through which a test can interfere.

use std::{future::Future, sync::Arc};

use agentwire::registry::{
    InstanceRef, Lease, LocalRegistry, Query, Registration, Registry, RegistryError, Watch,
    WatchScope,
};

/// A registry in front of a [`LocalRegistry`]. Clones share both the registry and the hooks.
pub(crate) struct Delegate<H> {
    pub(crate) inner: LocalRegistry,
    pub(crate) hooks: Arc<H>,
}

/// What a [`Delegate`] does beside delegating. Without an override it does nothing.
pub(crate) trait Hooks: Send + Sync + 'static {
    /// Runs before a registration is passed on.
    fn before_register(&self, _: &Registration) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Runs before an instance is unregistered.
    fn before_unregister(&self, _: &InstanceRef) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Runs before a lookup, which fails with the error that this returns.
    fn before_lookup(&self) -> impl Future<Output = Result<(), RegistryError>> + Send {
        async { Ok(()) }
    }

    /// Sees the registrations that the inner registry returned.
    fn returned(&self, _: &[Arc<Registration>]) {}

    /// Makes a watch.
    fn watch(&self, inner: &LocalRegistry, scope: WatchScope) -> Watch {
        inner.watch(scope)
    }
}

impl<H: Hooks> Delegate<H> {
    pub(crate) fn new(inner: &LocalRegistry, hooks: H) -> Self {
        Self {
            inner: inner.clone(),
            hooks: Arc::new(hooks),
        }
    }

    fn returned(
        &self,
        found: Result<Vec<Arc<Registration>>, RegistryError>,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        found.inspect(|found| self.hooks.returned(found))
    }
}

impl<H> Clone for Delegate<H> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            hooks: Arc::clone(&self.hooks),
        }
    }
}

impl<H: Hooks> Registry for Delegate<H> {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        self.hooks.before_register(&registration).await;
        self.inner.register(registration).await
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.hooks.before_unregister(which).await;
        self.inner.unregister(which).await
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.inner.heartbeat(which).await
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.hooks.before_lookup().await?;
        self.returned(self.inner.lookup(name).await)
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.returned(self.inner.list().await)
    }

    async fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.returned(self.inner.list_after(name, count).await)
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.returned(self.inner.find(query).await)
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        self.hooks.watch(&self.inner, scope)
    }
}
