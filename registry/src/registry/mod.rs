//! The interface of registries: [`Registry`].

mod dynamic;

use std::{future::Future, sync::Arc};

pub use self::dynamic::SharedRegistry;
use crate::{InstanceRef, Lease, Query, Registration, RegistryError, Watch, WatchScope};

/// A directory of agents. Agents register their endpoints, and callers find the agents.
///
/// [`LocalRegistry`](crate::LocalRegistry) is a registry inside this process. [`SharedRegistry`]
/// erases the type of a registry.
///
/// A registration exists until its [`Lease`] expires. Each heartbeat renews the lease. Expired
/// registrations are never returned. Lists are ordered by name, then by version, then by endpoint.
/// Newer versions come first, and registrations without a version come last.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{LocalRegistry, Registration, Registry};
///
/// /// Works with a registry in this process, in another one, or in Redis.
/// async fn count_agents(registry: &impl Registry) -> Result<usize, agentwire::registry::RegistryError> {
///     Ok(registry.list().await?.len())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = LocalRegistry::new();
/// registry.register(Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)).await?;
/// assert_eq!(count_agents(&registry).await?, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// If a future is dropped, its operation may or may not take effect. Repeating an operation is
/// harmless, with one exception. Repeating [`unregister`](Self::unregister) without an instance id
/// and an owner key may remove a successor that has neither.
///
/// # Backends
///
/// The module [`backend`](crate::backend) contains the tools for implementing this trait. The
/// module `contract` contains a test suite for implementations, and requires the feature
/// `contract-tests`.
pub trait Registry: Send + Sync + 'static {
    /// Registers an agent and returns the lease. An earlier registration with the same name and
    /// endpoint is replaced.
    ///
    /// A registration of another instance can be replaced only after half of its lease has passed
    /// without a heartbeat: see [`Registration::with_owner`].
    ///
    /// The times in `registration` are ignored, because the registry uses its own clock.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidName`] or [`RegistryError::InvalidRegistration`] if the
    /// registration is invalid. Returns [`RegistryError::Owned`] or [`RegistryError::Duplicate`] if
    /// another instance is registered. Returns [`RegistryError::TooManyInstances`] or
    /// [`RegistryError::Full`] if a limit is reached. Returns another error if the registry cannot
    /// be reached.
    fn register(
        &self,
        registration: Registration,
    ) -> impl Future<Output = Result<Lease, RegistryError>> + Send;

    /// Unregisters an agent. Does nothing if the agent is not registered or has been replaced by
    /// another instance.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::Owned`] if the registration belongs to another instance,
    /// [`RegistryError::InvalidName`] if the name is invalid, and [`RegistryError::Ambiguous`] if
    /// several instances match. Returns another error if the registry cannot be reached.
    fn unregister(
        &self,
        which: &InstanceRef,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Renews the lease of an agent.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::NotRegistered`] if the registration does not exist. The agent
    /// should then register again. Returns [`RegistryError::Replaced`] or [`RegistryError::Owned`]
    /// if another instance is registered, [`RegistryError::InvalidName`] if the name is invalid,
    /// and [`RegistryError::Ambiguous`] if several instances match. Returns another error if the
    /// registry cannot be reached.
    fn heartbeat(
        &self,
        which: &InstanceRef,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Returns all instances of a name. The list is empty if there are no instances.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidName`] if the name is invalid, and another error if the
    /// registry cannot be reached.
    fn lookup(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Returns all registrations.
    ///
    /// # Errors
    ///
    /// Returns an error if the registry cannot be reached.
    fn list(&self) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Returns a page of registrations, in listing order. A server uses this method to send a long
    /// list in parts.
    ///
    /// The page starts with the first name after `name`, or with the very first name if `name` is
    /// `None`. A page contains at least `count` registrations, unless it is the last page. A page
    /// contains all instances of each of its names, so it may contain more than `count`
    /// registrations.
    ///
    /// The default implementation lists all registrations, and returns all registrations after
    /// `name`.
    ///
    /// # Errors
    ///
    /// Returns an error if the registry cannot be reached.
    fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send {
        // A page may contain more than `count` registrations.
        let _ = count;
        async move {
            let mut all = self.list().await?;
            let precedes = |one: &Arc<Registration>| name.is_some_and(|name| &*one.name <= name);
            all.drain(..all.partition_point(precedes));
            Ok(all)
        }
    }

    /// Returns all registrations that match a query. The query is a [`Query`], a reference to a
    /// [`Query`], or an exact name.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidQuery`] if the query is invalid, and another error if the
    /// registry cannot be reached.
    fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Returns a watch, which reports a snapshot of the current registrations, followed by all
    /// later changes.
    ///
    /// Depending on the backend, the snapshot is taken when the watch is created or when the first
    /// event is awaited.
    fn watch(&self, scope: WatchScope) -> Watch;
}
