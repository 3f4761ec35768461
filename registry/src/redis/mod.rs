//! A registry in Redis: [`RedisRegistry`].
//!
//! # Keys
//!
//! All keys begin with a namespace, by default `agentwire:`. An id is a name, a line feed, and an
//! endpoint.
//!
//! | key | contents |
//! |---|---|
//! | `agentwire:entry:ID` | an entry, as a hash: `offer` is the registration (JSON, as [`RegistrationExt::to_map`] without the times), `instance` the instance id, `owner` the owner key, `lease` in ms, `expires` in ms since 1970, `registered` and `heard` (the last heartbeat) in microseconds since 1970 |
//! | `agentwire:ids` | all ids, as a sorted set in byte order, so that the instances of a name are contiguous and everything can be read page by page |
//! | `agentwire:due` | all ids, by the time at which a sweep checks them next, which is no later than they can expire |
//! | `agentwire:state` | `revision`, which every change increments, and `epoch`, a random id that distinguishes an emptied Redis from the one before |
//!
//! A change is published on the channel `agentwire:changes@0`, where the number is that of the
//! database, in six lines: epoch, revision, kind (`joined`, `updated`, `left`, `expired`),
//! `registered`, `heard`, `offer`.
//!
//! Scripts change the keys atomically and use the clock of Redis. A lookup and a heartbeat access
//! their entries by key or through an ordered set, so their cost is nearly independent of the
//! number of entries.
//!
//! # Leases
//!
//! An entry expires at its time `expires` and is not returned from then on. Its key has a time to
//! live that is an hour longer, so that a sweep can still publish what expired. Every connected
//! registry sweeps; whichever comes first removes an expired entry and publishes its expiry once.

mod address;
mod builder;
mod change;
mod connection;
mod entry;
mod fault;
mod id;
mod listener;
mod position;
mod retry;
mod script;
mod shared;
mod snapshot;
mod status;
mod store;
mod sweeper;
mod tasks;
mod watcher;

use std::{fmt, sync::Arc};

pub use self::builder::RedisRegistryBuilder;
use self::{id::Range, shared::Shared, store::ReadMode, watcher::Watcher};
use crate::{
    InstanceRef, Lease, Query, Registration, RegistrationProblem, Registry, RegistryError, Watch,
    WatchScope,
    backend::{QueryExt, RegistrationExt, WatchExt},
    check_name,
    registration::sort,
};

/// A registry in Redis, shared by everyone who uses the same database with the same namespace.
/// Clones share one connection.
///
/// ```no_run
/// use agentwire_registry::{RedisRegistry, Registration, Registry};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = RedisRegistry::connect("redis://localhost:6379").await?;
/// registry.register(Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # When Redis is down
///
/// Operations fail with [`RegistryError::Unavailable`] within the timeout; later ones reconnect.
/// The same happens when Redis becomes a replica. Watches wait, and continue with a snapshot marked
/// as a resync once Redis is back. If Redis is reachable but refuses access, a watch ends with
/// [`RegistryError::Refused`]. A Redis that lost its data answers heartbeats with
/// [`RegistryError::NotRegistered`], so that every agent registers again.
///
/// # Tasks
///
/// One task sweeps. From the first watch on, another one listens for changes. Each watch has a task
/// while it reads a snapshot. All tasks end with the last handle. Tasks that end with their runtime
/// are started again on the runtime of the next operation, or of a pending watch. A [`Watch`] is
/// not a handle: it ends with the registry.
///
/// # Requirements
///
/// Redis 6 or newer, standalone or with replicas, but not as a cluster and without TLS. It must not
/// evict keys other than those that expire (`maxmemory-policy` `noeviction` or `volatile-…`).
/// Leases use the clock of Redis (`TIME`), which should be adjusted gradually, never in jumps.
/// Clients that can write to Redis are trusted: malformed entries are ignored with a warning, but
/// their size is not bounded.
///
/// A dedicated user needs the keys and the channel of the namespace, and these commands:
///
/// ```text
/// ACL SETUSER agents on >password ~agentwire:* &agentwire:changes@* -@all
///     +@connection +@scripting +@hash +@sortedset +@keyspace +time +publish +subscribe
/// ```
///
/// [`connect`](Self::connect) fails without them.
#[derive(Clone)]
pub struct RedisRegistry(Arc<Shared>);

impl RedisRegistry {
    /// Connects to a URL such as `redis://user:password@host:port/db` or `redis+unix:///path`, with
    /// default settings.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`] for an invalid URL; [`RegistryError::Unavailable`] if
    /// Redis cannot be reached; [`RegistryError::Refused`] if it denies access.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: dropping the future leaves nothing behind.
    pub async fn connect(url: &str) -> Result<Self, RegistryError> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a registry with other settings.
    pub fn builder(url: impl Into<String>) -> RedisRegistryBuilder {
        RedisRegistryBuilder::new(url)
    }

    /// Returns the entries of a range that match, in listing order.
    async fn collect(
        &self,
        range: Range,
        matches: impl Fn(&Registration) -> bool,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let (mut found, mut next) = (Vec::new(), Some(range));
        while let Some(range) = next {
            let page = self.0.store.page(range, ReadMode::Lookup).await?;
            found.extend(page.entries.into_iter().filter(|entry| matches(entry)));
            next = page.next;
        }
        sort(&mut found);
        Ok(found)
    }
}

impl Registry for RedisRegistry {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        let config = &self.0.config;
        registration.check(config.max_size)?;
        if !registration.is_portable() {
            return Err(RegistryError::InvalidRegistration {
                name: registration.name,
                problem: RegistrationProblem::NotPortable,
            });
        }
        self.0.ensure_sweeper();
        self.0.store.register(&registration, config).await?;
        Ok(config.lease)
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.0.store.unregister(which).await
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.0.store.heartbeat(which).await
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        check_name(name)?;
        self.collect(Range::name(name), |_| true).await
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.collect(Range::all(), |_| true).await
    }

    async fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let mut next = Some(name.map_or_else(Range::all, Range::after_name));
        let mut found = Vec::<Arc<Registration>>::new();
        // Set once there are enough: only the rest of this name is still read.
        let mut last: Option<String> = None;
        while let Some(range) = next {
            let page = self.0.store.page(range, ReadMode::Lookup).await?;
            found.extend(page.entries);
            if found.len() >= count && last.is_none() {
                last = found.last().map(|found| found.name.clone());
            }
            next = page.next.map(|range| match &last {
                Some(name) => range.until_name(name),
                None => range,
            });
        }
        sort(&mut found);
        Ok(found)
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let query = query.into();
        query.check()?;
        let range = query.required_name().map_or_else(Range::all, Range::name);
        self.collect(range, |registration| query.matches(registration))
            .await
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        match scope.check() {
            Ok(()) => Watcher::new(&self.0, scope).into_watch(),
            Err(error) => Watch::failed(error),
        }
    }
}

impl fmt::Debug for RedisRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRegistry")
            .field("registry", &self.0.store.registry())
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
