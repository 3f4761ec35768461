mod dynamic;

use std::{future::Future, sync::Arc};

pub use self::dynamic::SharedRegistry;
use crate::{InstanceRef, Lease, Query, Registration, RegistryError, Watch, WatchScope};

/// Where agents are found.
///
/// [`LocalRegistry`](crate::LocalRegistry) is one inside this process. To keep one of any kind in a field there is
/// [`SharedRegistry`].
///
/// A registration holds for as long as its [`Lease`] says after each heartbeat. One whose lease is over is never
/// given out. Registrations are listed by name, then the newest version first and those without one last, then by
/// endpoint.
///
/// # Cancel safety
///
/// Every future may be dropped. What it was to do may have been done then or not; doing it again does no harm, but for an
/// [`unregister`](Self::unregister) that names no instance, which may meet a successor.
///
/// # Backends
///
/// Whoever writes one of their own runs the suite of the module `contract` against it, which is there with the
/// feature `contract-tests`.
pub trait Registry: Send + Sync + 'static {
    /// Puts an agent in, or in the place of the one with the same name and endpoint, and tells how long it holds.
    ///
    /// The times in `registration` are not taken over: the clock of the registry counts.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`], [`RegistryError::InvalidRegistration`], [`RegistryError::Duplicate`],
    /// [`RegistryError::TooManyInstances`], [`RegistryError::Full`], or one of reaching the registry.
    fn register(
        &self,
        registration: Registration,
    ) -> impl Future<Output = Result<Lease, RegistryError>> + Send;

    /// Takes an agent out. One that is not there, or that has been replaced by another instance, is no error and
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`], [`RegistryError::Ambiguous`], or one of reaching the registry.
    fn unregister(
        &self,
        which: &InstanceRef,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// Says that an agent is alive, which renews its lease.
    ///
    /// # Errors
    ///
    /// [`RegistryError::NotRegistered`], upon which the agent should register again; [`RegistryError::Replaced`],
    /// upon which it should not; [`RegistryError::InvalidName`], [`RegistryError::Ambiguous`], or one of reaching
    /// the registry.
    fn heartbeat(
        &self,
        which: &InstanceRef,
    ) -> impl Future<Output = Result<(), RegistryError>> + Send;

    /// All instances of one name; none if there is no such agent.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`], or one of reaching the registry.
    fn lookup(
        &self,
        name: &str,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Everything that is registered.
    ///
    /// # Errors
    ///
    /// One of reaching the registry.
    fn list(&self) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// Some of what is registered, in order, for those who pass on a long list in parts: all instances of the names that come
    /// behind `name` (all names without one), for as many names as it takes to have `count` of them or more. Fewer are the
    /// last.
    ///
    /// A registry that can only list everything gives all that comes behind `name`, as this does unless it is overridden.
    ///
    /// # Errors
    ///
    /// One of reaching the registry.
    fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send {
        // It is more than enough.
        let _ = count;
        async move {
            let mut all = self.list().await?;
            let known = |one: &Arc<Registration>| name.is_some_and(|name| &*one.name <= name);
            all.drain(..all.partition_point(known));
            Ok(all)
        }
    }

    /// Everything that a query asks for.
    ///
    /// # Errors
    ///
    /// One of reaching the registry.
    fn find(
        &self,
        query: &Query,
    ) -> impl Future<Output = Result<Vec<Arc<Registration>>, RegistryError>> + Send;

    /// What is registered, and all that happens from then on. That begins with the call, or when the watch is first
    /// asked for an event, as the backend has it: with its first snapshot.
    fn watch(&self, scope: WatchScope) -> Watch;
}
