//! A registry inside this process: [`LocalRegistry`].

mod claims;
mod entry;
mod expiry_queue;
mod index;
mod instances;
mod now;
mod shared;
mod table;
mod watcher;

use std::sync::Arc;

use tokio::time::Instant;

use self::{now::Now, shared::Shared, watcher::Watcher};
use crate::{
    InstanceRef, Lease, Query, Registration, Registry, RegistryConfig, RegistryError, Watch,
    WatchScope,
    backend::{QueryExt, RegistrationExt, WatchExt},
    check_name,
    registration::sort,
};

/// A registry inside this process. Clones are handles to the same registry.
///
/// The cost of lookups and heartbeats does not depend on the number of agents. Lookups, heartbeats
/// and the snapshots of watches do not block each other. A heartbeat without an endpoint visits all
/// instances of its name.
///
/// A background task removes expired registrations. The task runs on the tokio runtime on which the
/// registry is first used. This runtime must have time enabled. If the runtime shuts down, the next
/// operation or a pending watch starts a new task on its own runtime. Dropping the last handle ends
/// the task and all watches.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{LocalRegistry, Registration, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = LocalRegistry::new();
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?);
/// let lease = registry.register(weather).await?;
/// assert_eq!(lease.heartbeat_interval().as_secs(), 30);
///
/// let found = registry.lookup("weather").await?;
/// assert_eq!(found[0].endpoint.to_string(), "tcp://10.0.0.7:8080");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LocalRegistry(Arc<Shared>);

impl LocalRegistry {
    /// Creates an empty registry with default settings.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared::new(RegistryConfig::default())))
    }

    /// Creates an empty registry.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidSetting`] if a setting is out of range.
    pub fn with_config(config: RegistryConfig) -> Result<Self, RegistryError> {
        config.check()?;
        Ok(Self(Arc::new(Shared::new(config))))
    }
}

impl Default for LocalRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry for LocalRegistry {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        // Check and measure the registration before acquiring the lock, because both can be slow
        // for large maps.
        registration.check(self.0.config.max_size)?;
        let size = registration.approximate_size();
        self.0
            .write(|table, events| table.register(registration, size, Now::read(), events))?;
        Ok(self.0.config.lease)
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.0
            .write(|table, events| table.unregister(which, Instant::now(), events))
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.0.read(|table| table.heartbeat(which, Now::read()))
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        check_name(name)?;
        Ok(self
            .0
            .read(|table| table.index().lookup(name, Instant::now())))
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let mut all = self.0.read(|table| table.index().all(Instant::now()));
        sort(&mut all);
        Ok(all)
    }

    async fn list_after(
        &self,
        name: Option<&str>,
        count: usize,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        Ok(self
            .0
            .read(|table| table.index().list_after(name, count, Instant::now())))
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        let query = query.into();
        query.check()?;
        let mut found = self
            .0
            .read(|table| table.index().candidates(&query, Instant::now()));
        found.retain(|registration| query.matches(registration));
        sort(&mut found);
        Ok(found)
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        if let Err(error) = scope.check() {
            return Watch::failed(error);
        }
        let (snapshot, events) = self.0.subscribe(&scope, false);
        Watcher::new(&self.0, scope, snapshot, events).into_watch()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use futures_util::FutureExt;
    use tokio::{
        runtime::{Builder, Runtime},
        time::{advance, timeout},
    };

    use super::*;
    use crate::{Event, SharedRegistry, contract::Backend};

    struct Local(LocalRegistry);

    impl Backend for Local {
        type Registry = LocalRegistry;

        async fn start(_: &str, config: RegistryConfig) -> Self {
            Self(LocalRegistry::with_config(config).unwrap())
        }

        async fn registry(&self) -> LocalRegistry {
            self.0.clone()
        }
    }

    /// The same backend as a `SharedRegistry`.
    struct Erased(LocalRegistry);

    impl Backend for Erased {
        type Registry = SharedRegistry;

        async fn start(_: &str, config: RegistryConfig) -> Self {
            Self(LocalRegistry::with_config(config).unwrap())
        }

        async fn registry(&self) -> SharedRegistry {
            SharedRegistry::new(self.0.clone())
        }
    }

    crate::registry_contract! { local: Local, erased: Erased }

    #[tokio::test]
    async fn an_administrator_removes_any_registration() {
        let registry = LocalRegistry::new();
        crate::contract::an_administrator_removes_any_registration(&registry).await;
    }

    fn agent(name: &str) -> Registration {
        Registration::new(name, format!("memory://{name}").parse().unwrap()).with_instance("")
    }

    fn tasks() -> usize {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweeper_ends_when_the_registry_is_empty_and_is_started_again() {
        let registry = LocalRegistry::new();
        assert_eq!(tasks(), 0);
        for _ in 0..2 {
            let mut watch = registry.watch(WatchScope::All);
            registry.register(agent("weather")).await.unwrap();
            assert_eq!(tasks(), 1);
            // Paused time advances when all tasks are idle.
            while !matches!(watch.next().await, Some(Ok(Event::Expired(_)))) {}
            tokio::task::yield_now().await;
            assert_eq!(tasks(), 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweeper_and_the_watches_end_with_the_last_handle() {
        let registry = LocalRegistry::new();
        let other = registry.clone();
        let mut watch = registry.watch(WatchScope::name("nobody"));
        registry.register(agent("weather")).await.unwrap();
        drop(registry);
        assert!(matches!(
            watch.next().await,
            Some(Ok(Event::Snapshot { .. }))
        ));
        assert_eq!(tasks(), 1);
        drop(other);
        assert!(watch.next().await.is_none());
        // Let the cancelled task run until it ends.
        tokio::task::yield_now().await;
        assert_eq!(tasks(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expiry_is_reported_soon_after_it_happened() {
        let registry = LocalRegistry::new();
        let mut watch = registry.watch(WatchScope::All);
        let start = Instant::now();
        registry.register(agent("weather")).await.unwrap();
        advance(Duration::from_secs(60)).await;
        let which = InstanceRef::new("weather");
        registry.heartbeat(&which).await.unwrap();
        while !matches!(watch.next().await, Some(Ok(Event::Expired(_)))) {}
        let late = start.elapsed() - Duration::from_secs(150);
        assert!(late < Duration::from_secs(2), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_simultaneous_expiries_are_all_reported() {
        let registry =
            LocalRegistry::with_config(RegistryConfig::new().watch_buffer(4096)).unwrap();
        let mut watch = registry.watch(WatchScope::All);
        for number in 0..1000 {
            registry
                .register(agent(&format!("agent {number}")))
                .await
                .unwrap();
        }
        let mut expired = 0;
        while expired < 1000 {
            match watch.next().await.unwrap().unwrap() {
                Event::Expired(_) => expired += 1,
                event => assert!(!event.is_resync()),
            }
        }
        assert!(registry.list().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_slow_watch_receives_a_resync() {
        let registry = LocalRegistry::with_config(RegistryConfig::new().watch_buffer(4)).unwrap();
        let mut watch = registry.watch(WatchScope::All);
        for number in 0..100 {
            registry
                .register(agent(&format!("agent {number}")))
                .await
                .unwrap();
        }
        let first = watch.next().await.unwrap().unwrap();
        assert!(!first.is_resync(), "{first:?}");
        match watch.next().await.unwrap().unwrap() {
            Event::Snapshot {
                registrations,
                resync: true,
            } => assert_eq!(registrations.len(), 100),
            other => panic!("{other:?}"),
        }
    }

    /// A runtime with its own paused time.
    fn runtime() -> Runtime {
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    }

    async fn expires(watch: &mut Watch) {
        let expired = async { while !matches!(watch.next().await, Some(Ok(Event::Expired(_)))) {} };
        let limit = Duration::from_secs(1000);
        timeout(limit, expired).await.expect("nothing was swept");
    }

    #[test]
    fn a_pending_watch_restarts_the_sweeper_of_a_runtime_that_shut_down() {
        let registry = LocalRegistry::new();
        for is_polled in [false, true] {
            let (first, second) = (runtime(), runtime());
            let mut watch = registry.watch(WatchScope::All);
            let registered = async {
                registry.register(agent("weather")).await.unwrap();
                assert_eq!(tasks(), 1);
                if is_polled {
                    tokio::task::yield_now().await;
                }
            };
            first.block_on(registered);
            second.block_on(async {
                let waiting = tokio::spawn(async move { expires(&mut watch).await });
                tokio::task::yield_now().await;
                assert_eq!(tasks(), 1);
                // The watch is now waiting.
                first.shutdown_background();
                waiting.await.unwrap();
            });
        }
        // The runtime shuts down before the watch starts waiting.
        let (first, second) = (runtime(), runtime());
        first.block_on(registry.register(agent("weather"))).unwrap();
        drop(first);
        second.block_on(expires(&mut registry.watch(WatchScope::All)));
    }

    #[test]
    fn a_heartbeat_restarts_the_sweeper_of_a_runtime_that_shut_down() {
        let registry = LocalRegistry::new();
        let (first, second) = (runtime(), runtime());
        first.block_on(registry.register(agent("weather"))).unwrap();
        drop(first);
        let heartbeat = async {
            let which = InstanceRef::new("weather");
            registry.heartbeat(&which).await.unwrap();
            assert_eq!(tasks(), 1);
        };
        second.block_on(heartbeat);
    }

    #[test]
    fn a_watch_in_a_runtime_that_shut_down_waits_and_does_not_spin() {
        let registry = LocalRegistry::new();
        let ended = runtime().handle().clone();
        let mut watch = registry.watch(WatchScope::All);
        let _inside = ended.enter();
        let registered = registry.register(agent("weather")).now_or_never();
        registered.unwrap().unwrap();
        for _ in 0..2 {
            watch.next().now_or_never().unwrap().unwrap().unwrap();
        }
        assert!(watch.next().now_or_never().is_none());
    }

    #[test]
    fn a_watch_starts_during_a_lookup() {
        let registry = LocalRegistry::new();
        let other = registry.clone();
        registry.0.read(|_| {
            let (sender, started) = mpsc::channel();
            thread::spawn(move || sender.send(other.watch(WatchScope::All)));
            started.recv_timeout(Duration::from_secs(30)).unwrap();
        });
    }

    #[test]
    fn it_works_without_a_runtime() {
        let registry = LocalRegistry::new();
        let registered = registry.register(agent("weather")).now_or_never();
        registered.unwrap().unwrap();
        let other = Builder::new_current_thread().enable_time().build().unwrap();
        other.block_on(async {
            assert_eq!(registry.lookup("weather").await.unwrap().len(), 1);
            registry.register(agent("echo")).await.unwrap();
            assert_eq!(tasks(), 1, "the sweeper runs on the new runtime");
        });
    }

    #[test]
    fn a_setting_out_of_range_is_named() {
        let config = RegistryConfig::new;
        for (config, expected) in [
            (config().lease(Duration::ZERO), "lease"),
            (config().lease(Duration::MAX), "lease"),
            (config().watch_buffer(0), "watch_buffer"),
            (config().watch_buffer(usize::MAX), "watch_buffer"),
            (config().max_registrations(0), "max_registrations"),
            (config().max_instances(0), "max_instances"),
            (config().max_total_size(0), "max_total_size"),
        ] {
            match LocalRegistry::with_config(config) {
                Err(RegistryError::InvalidSetting { setting, .. }) => assert_eq!(setting, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}
