//! A registry in Redis: [`RedisRegistry`].
//!
//! # Keys
//!
//! All keys begin with a namespace, which is `agentwire:` by default, and a hash tag, which makes a
//! cluster store all keys in one slot. An id consists of a name, a line feed and an endpoint. Each
//! script receives all keys.
//!
//! | key | contents |
//! |---|---|
//! | `agentwire:{agents}:entries` | all entries, as a hash whose fields are `ATTRIBUTE:ID`: `offer` is the registration (JSON, as [`RegistrationExt::to_map`] without the times), `instance` the instance id, `owner` the owner key, `lease` in ms, `expires` in ms since 1970, `registered` and `heard` (the last heartbeat) in microseconds since 1970 |
//! | `agentwire:{agents}:ids` | all ids, as a sorted set in byte order, so that the instances of a name are contiguous and everything can be read page by page |
//! | `agentwire:{agents}:due` | all ids, by the time at which a sweep checks them next, which is no later than they can expire |
//! | `agentwire:{agents}:state` | `revision`, which every change increments, and `epoch`, a random id that distinguishes an emptied Redis from the one before; `swept`, the time of the last sweep; `held_from` and `held_until`, see below |
//!
//! Each change is published on the channel `agentwire:changes@0`, where 0 is the number of the
//! database. The message has six lines: the epoch, the revision, the kind (`joined`, `updated`,
//! `left` or `expired`), `registered`, `heard` and `offer`.
//!
//! Scripts change the keys atomically and use the clock of Redis. Lookups and heartbeats access
//! entries by key or through an ordered set, so their cost is nearly independent of the number of
//! entries.
//!
//! # Leases
//!
//! An entry expires at the time `expires`, and is not returned afterwards. Every connected registry
//! sweeps. The first sweep that finds an expired entry removes the entry and publishes its expiry.
//! No key has a time to live, so Redis evicts none of them under a `volatile` policy.
//!
//! While Redis refuses writes, no heartbeat can renew a lease, so all leases expire although all
//! agents may be well. Sweeps fail at the same time, and tell the scripts for how long. Leases that
//! expired after the last sweep of any registry, `held_from`, count as live until `held_until`, one
//! lease after Redis has accepted writes again.

mod address;
mod builder;
mod change;
mod connection;
mod entry;
mod fault;
mod heard;
mod id;
mod keys;
mod listener;
mod outage;
mod outcomes;
mod position;
mod retry;
mod script;
mod shared;
mod snapshot;
mod status;
mod store;
mod sweeper;
mod tasks;
mod url;
mod watcher;

use std::{fmt, sync::Arc};

pub use self::{
    builder::RedisRegistryBuilder,
    outcomes::{OutcomeClaim, RedisOutcomes},
};
use self::{id::Range, shared::Shared, store::ReadMode, watcher::Watcher};
use crate::{
    InstanceRef, Lease, Query, Registration, RegistrationProblem, Registry, RegistryError, Watch,
    WatchScope,
    backend::{QueryExt, RegistrationExt, WatchExt},
    check_name,
    registration::sort,
};

/// A registry in Redis. All processes that use the same database and namespace share the registry.
/// Clones share one connection.
///
/// ```no_run
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{RedisRegistry, Registration, Registry};
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
/// While Redis is down, operations fail with [`RegistryError::Unavailable`] within the timeout.
/// Later operations reconnect. Operations also fail and reconnect if the Redis server becomes a
/// replica. A watch waits until Redis is available again, and then reports a snapshot that is
/// marked as a resync. If Redis is reachable but refuses access, a watch ends with
/// [`RegistryError::Refused`]. If Redis has lost its data, heartbeats fail with
/// [`RegistryError::NotRegistered`], and the agents register again.
///
/// # Tasks
///
/// One task removes expired entries. The first watch starts a second task, which listens for
/// changes. Each watch also has a task while it reads a snapshot. If the runtime of a task shuts
/// down, the next operation or a pending watch starts the task again on its own runtime. Dropping
/// the last handle ends all tasks and all watches.
///
/// # Requirements
///
/// Redis 6 or newer is required, standalone or with replicas. TLS is not supported. All keys of a
/// namespace are in one slot of a cluster, but redirections are not followed: the URL must name the
/// node that owns the slot.
///
/// Redis must not evict keys without an expiry, so set `maxmemory-policy` to `noeviction` or one of
/// the `volatile` policies. Leases use the clock of Redis (`TIME`), which should be adjusted
/// gradually and not in steps. Clients that can write to Redis are trusted. Malformed entries are
/// ignored with a warning, but their size is not limited.
///
/// A dedicated Redis user needs access to the keys and the channel of the namespace, and to these
/// commands:
///
/// ```text
/// ACL SETUSER agents on >password ~agentwire:* &agentwire:changes@* -@all
///     +@connection +@scripting +@hash +@sortedset +@keyspace +time +publish +subscribe
/// ```
///
/// If the access is missing, [`connect`](Self::connect) fails.
#[derive(Clone)]
pub struct RedisRegistry(Arc<Shared>);

impl RedisRegistry {
    /// Connects to Redis with default settings. Examples of URLs are
    /// `redis://user:password@host:port/db` and `redis+unix:///path`.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if the URL is invalid,
    /// [`RegistryError::Unavailable`] if Redis cannot be reached, and [`RegistryError::Refused`] if
    /// Redis denies access.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed.
    pub async fn connect(url: &str) -> Result<Self, RegistryError> {
        Self::builder(url).connect().await
    }

    /// Returns a builder for a registry with custom settings.
    ///
    /// The URL may set the [namespace](RedisRegistryBuilder::namespace) and the
    /// [lease](RedisRegistryBuilder::lease), as in `redis://host:6379/0?namespace=blue:&lease=30s`.
    /// These settings have precedence over those of the builder. An unknown key in the query is an
    /// error.
    pub fn builder(url: impl Into<String>) -> RedisRegistryBuilder {
        RedisRegistryBuilder::new(url)
    }

    /// Returns the matching entries in a range, in listing order.
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
        // The last name to return. Once `count` is reached, this name is set, and only the
        // remaining instances of the name are read.
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
