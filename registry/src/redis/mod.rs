//! A registry in Redis: [`RedisRegistry`].
//!
//! # Keys
//!
//! All of them begin with a namespace, `agentwire:` unless set otherwise. An id is a name, a line feed, and an endpoint.
//!
//! | key | what it is |
//! |---|---|
//! | `agentwire:entry:ID` | an entry, as a hash: `offer` is what the agent says of itself (JSON, as [`Registration::to_map`] without its times), `instance` the instance id, `lease` in ms, `expires` in ms since 1970, `registered` and `heard` in microseconds since 1970 |
//! | `agentwire:ids` | all ids, as a sorted set in the order of bytes, so that the instances of a name stand together and everything can be read page by page |
//! | `agentwire:due` | the same ids, by when the sweep looks at them next: no later than they can expire |
//! | `agentwire:state` | `revision`, which every change increases by one, and `epoch`, a random id that tells an emptied Redis from the one before |
//!
//! A change is published on the channel `agentwire:changes@0`, the number being that of the database, in six lines:
//! epoch, revision, kind (`joined`, `updated`, `left`, `expired`), `registered`, `heard`, `offer`.
//!
//! Everything that is done to the keys is done by scripts, by the clock of Redis, and nobody sees it half done. A lookup and a
//! heartbeat touch the entries that they are about and look them up by key or in an ordered set, so that their cost
//! hardly knows the number of entries.
//!
//! # Leases
//!
//! An entry is over when its time `expires` has come, and no reader is given it from then on. Its key has a time to live
//! that is an hour longer: whoever sweeps can still say what expired. Each connected registry sweeps; an entry that
//! is over is removed and told of once, by whoever comes first.

mod address;
mod builder;
mod change;
mod connection;
mod entry;
mod fault;
mod id;
mod listener;
mod position;
mod refusals;
mod script;
mod shared;
mod snapshot;
mod status;
mod store;
mod sweeper;
mod tasks;
mod watcher;

use std::{fmt, sync::Arc, time::Duration};

pub use self::builder::RedisRegistryBuilder;
use self::{id::Range, shared::Shared, store::Reader, watcher::Watcher};
use crate::{
    InstanceRef, Lease, Query, Registration, RegistrationProblem, Registry, RegistryConfig,
    RegistryError, Watch, WatchScope,
    backend::{QueryExt, RegistrationExt, WatchExt},
    check_name,
    registration::sort,
};

/// The waits before Redis is tried again: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A registry in a Redis, which all who connect to the same database of it with the same namespace share. Clones are handles of the same
/// connection.
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
/// # When Redis is away
///
/// Operations fail with [`RegistryError::Unavailable`] within the timeout, and connect again by themselves. So they do when
/// the Redis that they are connected to has become a replica. Watches wait; once Redis is back they go on with a snapshot
/// that is marked as a resync. Where Redis is there and refuses, a watch ends with [`RegistryError::Refused`]. A Redis that came back without what it
/// held answers heartbeats with [`RegistryError::NotRegistered`], so that everybody registers again.
///
/// # Tasks
///
/// One sweeps, and one listens for changes from the first watch on; each watch has one while it reads what is registered.
/// They end with the last handle. Those that end with their runtime begin again in that of the next operation, or of a
/// watch that goes on. A [`Watch`] is no handle: it ends with the registry.
///
/// # What it needs
///
/// Redis 6 or newer, alone or with replicas, not as a cluster; without TLS. It should not evict keys other than
/// those that expire (`maxmemory-policy` `noeviction` or `volatile-…`). Leases are counted by its clock (`TIME`), which should
/// be kept right slowly, never in leaps. Whoever may write to it is trusted: what makes no sense there is passed over with a
/// warning, but not bounded in size.
///
/// A user of its own needs the keys and the channel of the namespace, and the commands that are used there:
///
/// ```text
/// ACL SETUSER agents on >password ~agentwire:* &agentwire:changes@* -@all +@connection +@scripting +@hash
///     +@sortedset +@keyspace +time +publish +subscribe
/// ```
///
/// [`connect`](Self::connect) fails without them.
#[derive(Clone)]
pub struct RedisRegistry(Arc<Shared>);

impl RedisRegistry {
    /// Connects to a URL like `redis://user:password@host:port/db` or `redis+unix:///path`, with default settings.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidSetting`] of the URL; [`RegistryError::Unavailable`] if there is no Redis now, and
    /// [`RegistryError::Refused`] if it does not let us.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, nothing is left behind.
    pub async fn connect(url: &str) -> Result<Self, RegistryError> {
        Self::builder(url).connect().await
    }

    /// The same, with settings.
    pub fn builder(url: impl Into<String>) -> RedisRegistryBuilder {
        RedisRegistryBuilder::new(url)
    }

    /// Its settings.
    pub fn config(&self) -> &RegistryConfig {
        &self.0.config
    }

    /// What is in a range and is wanted, in order.
    async fn collect(
        &self,
        range: Range,
        wanted: impl Fn(&Registration) -> bool,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let (mut found, mut next) = (Vec::new(), Some(range));
        while let Some(range) = next {
            let page = self.0.store.page(range, Reader::Once).await?;
            found.extend(page.entries.into_iter().filter(|entry| wanted(entry)));
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
        self.0.sweep();
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
        // Once there are enough, only what is left of the last name.
        let mut last: Option<String> = None;
        while let Some(range) = next {
            let page = self.0.store.page(range, Reader::Once).await?;
            found.extend(page.entries);
            if found.len() >= count && last.is_none() {
                last = found.last().map(|found| found.name.clone());
            }
            next = page.next.map(|range| match &last {
                Some(name) => range.within(name),
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
