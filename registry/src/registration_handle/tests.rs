use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    time::Duration,
};

use agentwire_codec::WireError;
use tokio::{
    runtime::Handle,
    task::yield_now,
    time::{Instant, sleep},
};

use super::*;
use crate::{InstanceRef, Lease, LocalRegistry, Query, RegistryConfig, Watch, WatchScope};

/// A registry that can be out of order.
#[derive(Clone, Default)]
struct Moody {
    registry: LocalRegistry,
    mood: Arc<AtomicU8>,
    /// How often it was asked to register or to renew.
    asked: Arc<AtomicUsize>,
    heartbeats: Arc<AtomicUsize>,
}

const WELL: u8 = 0;
const DOWN: u8 = 1;
const SILENT: u8 = 2;
const SLOW: u8 = 3;
const ANOTHER: u8 = 4;

impl Moody {
    fn be(&self, mood: u8) {
        self.mood.store(mood, Ordering::Relaxed);
    }

    fn with_lease(seconds: u64) -> Self {
        let config = RegistryConfig::new().lease(Duration::from_secs(seconds));
        let registry = LocalRegistry::with_config(config).unwrap();
        Self {
            registry,
            ..Self::default()
        }
    }

    async fn work(&self) -> Result<(), RegistryError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.mood.load(Ordering::Relaxed) {
            DOWN => Err(RegistryError::Unavailable {
                registry: "tcp://198.51.100.1:1".to_owned(),
                source: "connection refused".into(),
            }),
            SILENT => pending().await,
            ANOTHER => Err(RegistryError::NotARegistry {
                registry: "tcp://198.51.100.1:1".to_owned(),
                error: Box::new(WireError::new("NOT_IMPLEMENTED", "what?")),
            }),
            SLOW => {
                sleep(Duration::from_secs(1)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn has(&self, name: &str) -> bool {
        !self.registry.lookup(name).await.unwrap().is_empty()
    }
}

impl Registry for Moody {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        self.work().await?;
        self.registry.register(registration).await
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        if self.mood.load(Ordering::Relaxed) != SLOW {
            self.work().await?;
        }
        self.registry.unregister(which).await
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.work().await?;
        self.heartbeats.fetch_add(1, Ordering::Relaxed);
        self.registry.heartbeat(which).await
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.registry.lookup(name).await
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.registry.list().await
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.registry.find(query).await
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        self.registry.watch(scope)
    }
}

fn weather() -> Registration {
    Registration::new("weather", "tcp://198.51.100.1:80".parse().unwrap())
}

/// Lets so much time pass; it is paused, so that this takes none.
async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

/// A registry that has had anything registered has a sweeper until that would have been over.
fn tasks_but_the_sweeper() -> usize {
    Handle::current().metrics().num_alive_tasks() - 1
}

#[tokio::test(start_paused = true)]
async fn it_registers_and_is_heard_every_interval() {
    let registry = Moody::default();
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    registrant.registered().await.unwrap();
    assert!(registrant.is_registered() && registrant.last_error().is_none());
    pass(605).await;
    // Each of them comes a little early.
    let heartbeats = registry.heartbeats.load(Ordering::Relaxed);
    assert!((20..=22).contains(&heartbeats), "{heartbeats}");
    assert!(registry.has("weather").await && registrant.is_registered());
}

#[tokio::test(start_paused = true)]
async fn unregistering_takes_it_out_and_leaves_no_task() {
    let registry = Moody::default();
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    registrant.registered().await.unwrap();
    for _ in 0..2 {
        registrant.unregister().await.unwrap();
        assert!(!registry.has("weather").await);
        assert!(!registrant.is_registered() && registrant.is_ended());
    }
    let error = registrant.registered().await.unwrap_err();
    assert!(error.is_not_registered(), "{error}");
    yield_now().await;
    assert_eq!(tasks_but_the_sweeper(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_it_takes_it_out_in_the_background() {
    let registry = Moody::default();
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    registrant.registered().await.unwrap();
    drop(registrant);
    pass(1).await;
    assert!(!registry.has("weather").await);
    assert_eq!(tasks_but_the_sweeper(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_before_it_was_registered_does_not_stay() {
    let registry = Moody::default();
    registry.be(SLOW);
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    sleep(Duration::from_millis(500)).await;
    // The registration is under way and comes first.
    registrant.unregister().await.unwrap();
    assert!(!registry.has("weather").await);
    pass(10).await;
    assert!(!registry.has("weather").await);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_forgotten_registers_again() {
    let registry = Moody::default();
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    registrant.registered().await.unwrap();
    let which = InstanceRef::new("weather");
    registry.registry.unregister(&which).await.unwrap();
    pass(31).await;
    assert!(registry.has("weather").await && registrant.is_registered());
    assert!(registrant.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_at_first_is_waited_for() {
    let registry = Moody::default();
    registry.be(DOWN);
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    pass(100).await;
    assert!(!registrant.is_registered() && !registrant.is_ended());
    let error = registrant.last_error().unwrap();
    assert!(error.is_unavailable(), "{error}");
    registry.be(WELL);
    let start = Instant::now();
    registrant.registered().await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(30));
    assert!(registrant.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_heard_counts_as_registered_until_its_lease_is_over() {
    let registry = Moody::default();
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    registrant.registered().await.unwrap();
    registry.be(DOWN);
    pass(89).await;
    assert!(registrant.is_registered() && registrant.last_error().is_some());
    pass(2).await;
    assert!(!registrant.is_registered() && !registry.has("weather").await);
    registry.be(WELL);
    // The heartbeat is refused, and it registers again.
    pass(31).await;
    assert!(registrant.is_registered() && registry.has("weather").await);
}

#[tokio::test(start_paused = true)]
async fn two_heartbeats_may_be_lost_in_silence() {
    let registry = Moody::with_lease(15);
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    for _ in 0..20 {
        registrant.registered().await.unwrap();
        let asked = registry.asked.load(Ordering::Relaxed);
        registry.be(SILENT);
        while registry.asked.load(Ordering::Relaxed) < asked + 2 {
            sleep(Duration::from_millis(50)).await;
            assert!(registry.has("weather").await && registrant.is_registered());
        }
        registry.be(WELL);
        while registrant.last_error().is_some() {
            sleep(Duration::from_millis(50)).await;
            assert!(registry.has("weather").await && registrant.is_registered());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_never_counts_as_registered_for_longer_than_it_is() {
    let registry = Moody::with_lease(15);
    registry.be(SLOW);
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    let start = Instant::now();
    registrant.registered().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    registry.be(DOWN);
    let lost = async {
        while registrant.is_registered() {
            assert!(registry.has("weather").await);
            sleep(Duration::from_millis(50)).await;
        }
    };
    lost.await;
    assert!(start.elapsed() <= Duration::from_secs(15) + Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn whoever_has_the_address_of_the_registry_for_a_while_ends_nothing() {
    let registry = Moody::default();
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    registrant.registered().await.unwrap();
    registry.be(ANOTHER);
    pass(1000).await;
    assert!(!registrant.is_ended() && !registrant.is_registered());
    registry.be(WELL);
    pass(31).await;
    assert!(registrant.is_registered() && registry.has("weather").await);

    // From the beginning it is the wrong address.
    registry.be(ANOTHER);
    let registrant = RegistrationHandle::start(registry, weather()).unwrap();
    registrant.registered().await.unwrap_err();
    assert!(registrant.is_ended());
}

#[tokio::test(start_paused = true)]
async fn an_interval_that_no_lease_outlives_is_refused() {
    let registry = Moody::with_lease(15);
    let start = |seconds| {
        let builder = RegistrationHandle::builder(registry.clone(), weather());
        builder
            .interval(Duration::from_secs(seconds))
            .start()
            .unwrap()
    };
    for seconds in [15, u64::MAX] {
        let refused = start(seconds);
        let error = refused.registered().await.unwrap_err();
        let expected = "interval";
        assert!(
            matches!(error, RegistryError::InvalidSetting { setting, .. } if setting == expected)
        );
        assert!(refused.is_ended() && !registry.has("weather").await);
    }
    let taken = start(14);
    taken.registered().await.unwrap();
    pass(60).await;
    assert!(registry.has("weather").await && taken.is_registered());
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_holds_nothing_up() {
    let registry = Moody::default();
    registry.be(SILENT);
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    pass(31).await;
    let error = registrant.last_error().unwrap();
    assert!(matches!(error, RegistryError::NoAnswer { .. }), "{error}");
    let start = Instant::now();
    let error = registrant.unregister().await.unwrap_err();
    assert!(matches!(error, RegistryError::NoAnswer { .. }), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_replaced_gives_up_and_leaves_its_successor_alone() {
    let registry = Moody::default();
    let first = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    first.registered().await.unwrap();
    let second = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    second.registered().await.unwrap();
    pass(31).await;
    assert!(first.is_ended() && !first.is_registered());
    assert!(first.last_error().unwrap().is_duplicate());
    assert!(first.registered().await.unwrap_err().is_duplicate());
    drop(first);
    pass(100).await;
    assert!(registry.has("weather").await && second.is_registered());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_aborted_is_forgotten_when_its_lease_is_over() {
    let registry = Moody::default();
    let registrant = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    registrant.registered().await.unwrap();
    registrant.abort();
    pass(89).await;
    assert!(registrant.is_ended() && registry.has("weather").await);
    pass(2).await;
    assert!(!registry.has("weather").await && !registrant.is_registered());
    assert!(registrant.unregister().await.is_err());
}

#[tokio::test]
async fn what_no_registry_takes_is_refused_at_once() {
    let mut nameless = weather();
    nameless.name.clear();
    let error = RegistrationHandle::start(LocalRegistry::new(), nameless).unwrap_err();
    assert!(
        matches!(error, RegistryError::InvalidName { .. }),
        "{error}"
    );
}
