//! [`Registry`]: the interface of every backend.

mod dynamic;

use std::{future::Future, sync::Arc};

pub use self::dynamic::SharedRegistry;
use crate::{InstanceRef, Lease, Query, Registration, RegistryError, Watch, WatchScope};

/// A directory in which agents register and are found.
///
/// [`LocalRegistry`](crate::LocalRegistry) implements it inside this process.
/// [`SharedRegistry`] holds a registry of any type.
///
/// A registration lives until its [`Lease`] expires, which every heartbeat renews. An expired
/// registration is never returned. Registrations are listed by name, then newest version first and
/// unversioned last, then by endpoint.
///
/// # Cancel safety
///
/// Every future may be dropped; its operation may or may not have taken effect. Repeating the
/// operation is harmless, except for an [`unregister`](Self::unregister) without an instance id and
/// without an owner key, which may remove a successor that has neither.
///
/// # Backends
///
/// The module [`backend`](crate::backend) has what an implementation needs. The module `contract`,
/// behind the feature `contract-tests`, is a test suite for implementations.
pub trait Registry: Send + Sync + 'static {
    /// Registers an agent, replacing its earlier registration with the same name and endpoint, and
    /// returns the lease.
    ///
    /// A registration of another instance is replaced only once half of its lease has passed
    /// without a heartbeat. See [`Registration::with_owner`].
    ///
    /// The times in `registration` are ignored: the registry's clock counts.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`], [`RegistryError::InvalidRegistration`],
    /// [`RegistryError::Owned`], [`RegistryError::Duplicate`], [`RegistryError::TooManyInstances`],
    /// [`RegistryError::Full`], or an error of reaching the registry.
    fn register(
        &self,
        registration: Registration,
    ) -> impl Future<Output = Result<Lease, RegistryError>> + Send;

    /// Unregisters an agent. Does nothing if the agent is not registered, or if another instance
    /// has replaced it.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Owned`] if the agent belongs to another instance;
    /// [`RegistryError::InvalidName`], [`RegistryError::Ambiguous`], or an error of reaching the
    /// registry.
    fn unregister(
        &self,
        which: &InstanceRef,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Renews the lease of an agent.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotRegistered`], after which the agent should register again;
    /// [`RegistryError::Replaced`] and [`RegistryError::Owned`] while another instance holds the
    /// endpoint; [`RegistryError::InvalidName`],
    /// [`RegistryError::Ambiguous`], or an error of reaching the registry.
    fn heartbeat(
        &self,
        which: &InstanceRef,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Returns all instances of a name, or an empty list if there is none.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`], or an error of reaching the registry.
    fn lookup(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Returns all registrations.
    ///
    /// # Errors
    ///
    /// An error of reaching the registry.
    fn list(&self) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Returns a page of the registrations, in order, for servers that send a long list in parts.
    ///
    /// The page begins with the first name greater than `name`, or with the first name of all. It
    /// has all instances of as many names as it takes to reach `count` registrations. Fewer than
    /// `count` registrations are the last page.
    ///
    /// The default implementation lists everything and returns all that follows `name`.
    ///
    /// # Errors
    ///
    /// An error of reaching the registry.
    fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send {
        // A page may be longer than `count`.
        let _ = count;
        async move {
            let mut all = self.list().await?;
            let precedes = |one: &Arc<Registration>| name.is_some_and(|name| &*one.name <= name);
            all.drain(..all.partition_point(precedes));
            Ok(all)
        }
    }

    /// Returns all registrations that match a query: a [`Query`] or a reference to one, or the text
    /// of an exact name.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidQuery`], or an error of reaching the registry.
    fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Watches the registry: a snapshot of the current registrations, then every change.
    ///
    /// Depending on the backend, the snapshot is taken now, or when the first event is awaited.
    fn watch(&self, scope: WatchScope) -> Watch;
}
