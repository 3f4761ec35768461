//! Tests of [`RegistrationHandle`] against a registry that fails on demand.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agentwire_codec::WireError;
use agentwire_transport::internal::Mutex;
use tokio::{
    runtime::Handle,
    task::yield_now,
    time::{Instant, sleep},
};

use super::*;
use crate::{InstanceRef, Lease, LocalRegistry, Query, RegistryConfig, Watch, WatchScope};

/// A registry whose behavior is controlled by the test.
#[derive(Clone, Default)]
struct FlakyRegistry {
    inner: LocalRegistry,
    behavior: Arc<Mutex<Behavior>>,
    /// The number of attempted operations.
    attempts: Arc<AtomicUsize>,
    /// The number of successful heartbeats.
    heartbeats: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Behavior {
    #[default]
    Works,
    /// All operations fail as if the registry could not be reached.
    Unreachable,
    /// The registry never answers.
    Silent,
    /// The registry answers after a second.
    Slow,
    /// The registry answers like a server that is not a registry.
    NotARegistry,
}

impl FlakyRegistry {
    fn with_lease(seconds: u64) -> Self {
        let config = RegistryConfig::new().lease(Duration::from_secs(seconds));
        Self {
            inner: LocalRegistry::with_config(config).unwrap(),
            ..Self::default()
        }
    }

    fn set(&self, behavior: Behavior) {
        *self.behavior.lock() = behavior;
    }

    fn behavior(&self) -> Behavior {
        *self.behavior.lock()
    }

    async fn behave(&self) -> Result<(), RegistryError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        match self.behavior() {
            Behavior::Works => Ok(()),
            Behavior::Unreachable => Err(RegistryError::Unavailable {
                registry: "tcp://198.51.100.1:1".to_owned(),
                source: "connection refused".into(),
            }),
            Behavior::Silent => pending().await,
            Behavior::Slow => {
                sleep(Duration::from_secs(1)).await;
                Ok(())
            }
            Behavior::NotARegistry => Err(RegistryError::NotARegistry {
                registry: "tcp://198.51.100.1:1".to_owned(),
                error: Box::new(WireError::new("NOT_IMPLEMENTED", "what?")),
            }),
        }
    }

    async fn has(&self, name: &str) -> bool {
        !self.inner.lookup(name).await.unwrap().is_empty()
    }
}

impl Registry for FlakyRegistry {
    async fn register(&self, registration: Registration) -> Result<Lease, RegistryError> {
        self.behave().await?;
        self.inner.register(registration).await
    }

    async fn unregister(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        // Unregistering is fast even if registering is slow, so an unregistration can overtake a
        // registration.
        if self.behavior() != Behavior::Slow {
            self.behave().await?;
        }
        self.inner.unregister(which).await
    }

    async fn heartbeat(&self, which: &InstanceRef) -> Result<(), RegistryError> {
        self.behave().await?;
        self.heartbeats.fetch_add(1, Ordering::Relaxed);
        self.inner.heartbeat(which).await
    }

    async fn lookup(&self, name: &str) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.inner.lookup(name).await
    }

    async fn list(&self) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.inner.list().await
    }

    async fn find(
        &self,
        query: impl Into<Query> + Send,
    ) -> Result<Vec<Arc<Registration>>, RegistryError> {
        self.inner.find(query).await
    }

    fn watch(&self, scope: WatchScope) -> Watch {
        self.inner.watch(scope)
    }
}

fn weather() -> Registration {
    Registration::new("weather", "tcp://198.51.100.1:80".parse().unwrap())
}

/// Advances the paused clock.
async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

/// Returns the number of tasks, not counting the sweeper, which runs until the last lease has
/// expired.
fn tasks_without_sweeper() -> usize {
    Handle::current().metrics().num_alive_tasks() - 1
}

#[tokio::test(start_paused = true)]
async fn a_handle_registers_and_sends_heartbeats() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    assert!(handle.is_registered() && handle.last_error().is_none());
    pass(605).await;
    // Because of the jitter, each interval is slightly shorter than 30 s.
    let heartbeats = registry.heartbeats.load(Ordering::Relaxed);
    assert!((20..=22).contains(&heartbeats), "{heartbeats}");
    assert!(registry.has("weather").await && handle.is_registered());
}

#[tokio::test(start_paused = true)]
async fn unregistering_removes_the_agent_and_ends_the_task() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    for _ in 0..2 {
        handle.unregister().await.unwrap();
        assert!(!registry.has("weather").await);
        assert!(!handle.is_registered() && handle.is_ended());
    }
    let error = handle.registered().await.unwrap_err();
    assert!(error.is_not_registered(), "{error}");
    yield_now().await;
    assert_eq!(tasks_without_sweeper(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_unregisters_in_the_background() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    drop(handle);
    pass(1).await;
    assert!(!registry.has("weather").await);
    assert_eq!(tasks_without_sweeper(), 0);
}

#[tokio::test(start_paused = true)]
async fn unregistering_during_the_registration_leaves_nothing_behind() {
    let registry = FlakyRegistry::default();
    registry.set(Behavior::Slow);
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    sleep(Duration::from_millis(500)).await;
    // The registration in flight completes first.
    handle.unregister().await.unwrap();
    assert!(!registry.has("weather").await);
    pass(10).await;
    assert!(!registry.has("weather").await);
}

#[tokio::test(start_paused = true)]
async fn a_lost_registration_is_repeated() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    let which = InstanceRef::from(handle.registration());
    registry.inner.unregister(&which).await.unwrap();
    pass(31).await;
    assert!(registry.has("weather").await && handle.is_registered());
    assert!(handle.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn registration_is_retried_until_the_registry_is_reachable() {
    let registry = FlakyRegistry::default();
    registry.set(Behavior::Unreachable);
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    pass(100).await;
    assert!(!handle.is_registered() && !handle.is_ended());
    let error = handle.last_error().unwrap();
    assert!(error.is_unavailable(), "{error}");
    registry.set(Behavior::Works);
    let start = Instant::now();
    handle.registered().await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(30));
    assert!(handle.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_handle_reports_registered_until_the_lease_expires() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    registry.set(Behavior::Unreachable);
    pass(89).await;
    assert!(handle.is_registered() && handle.last_error().is_some());
    pass(2).await;
    assert!(!handle.is_registered() && !registry.has("weather").await);
    registry.set(Behavior::Works);
    // The heartbeat fails with `NotRegistered`, so the agent registers again.
    pass(31).await;
    assert!(handle.is_registered() && registry.has("weather").await);
}

#[tokio::test(start_paused = true)]
async fn two_unanswered_heartbeats_do_not_cost_the_lease() {
    let registry = FlakyRegistry::with_lease(15);
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    for _ in 0..20 {
        handle.registered().await.unwrap();
        let attempts = registry.attempts.load(Ordering::Relaxed);
        registry.set(Behavior::Silent);
        while registry.attempts.load(Ordering::Relaxed) < attempts + 2 {
            sleep(Duration::from_millis(50)).await;
            assert!(registry.has("weather").await && handle.is_registered());
        }
        registry.set(Behavior::Works);
        while handle.last_error().is_some() {
            sleep(Duration::from_millis(50)).await;
            assert!(registry.has("weather").await && handle.is_registered());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_handle_never_reports_registered_after_the_lease_expired() {
    let registry = FlakyRegistry::with_lease(15);
    registry.set(Behavior::Slow);
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    let start = Instant::now();
    handle.registered().await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    registry.set(Behavior::Unreachable);
    let lost = async {
        while handle.is_registered() {
            assert!(registry.has("weather").await);
            sleep(Duration::from_millis(50)).await;
        }
    };
    lost.await;
    assert!(start.elapsed() <= Duration::from_secs(15) + Duration::from_millis(50));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_server_at_the_address_gives_up_only_before_the_first_success() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    registry.set(Behavior::NotARegistry);
    pass(1000).await;
    assert!(!handle.is_ended() && !handle.is_registered());
    registry.set(Behavior::Works);
    pass(31).await;
    assert!(handle.is_registered() && registry.has("weather").await);

    // The address of the registry is already wrong at the first attempt.
    registry.set(Behavior::NotARegistry);
    let handle = RegistrationHandle::start(registry, weather()).unwrap();
    handle.registered().await.unwrap_err();
    assert!(handle.is_ended());
}

#[tokio::test(start_paused = true)]
async fn an_interval_longer_than_the_lease_is_refused() {
    let registry = FlakyRegistry::with_lease(15);
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
    let accepted = start(14);
    accepted.registered().await.unwrap();
    pass(60).await;
    assert!(registry.has("weather").await && accepted.is_registered());
}

#[tokio::test(start_paused = true)]
async fn a_silent_registry_does_not_block_unregistering() {
    let registry = FlakyRegistry::default();
    registry.set(Behavior::Silent);
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    pass(31).await;
    let error = handle.last_error().unwrap();
    assert!(matches!(error, RegistryError::NoAnswer { .. }), "{error}");
    let start = Instant::now();
    let error = handle.unregister().await.unwrap_err();
    assert!(matches!(error, RegistryError::NoAnswer { .. }), "{error}");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_can_neither_replace_nor_unregister_nor_renew_a_registration() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    let listed = registry.lookup("weather").await.unwrap().remove(0);
    // An attacker knows the endpoint and the instance id, because both are public.
    let mut claims = vec![InstanceRef::new("weather"), InstanceRef::from(&listed)];
    claims.push(InstanceRef::new("weather").with_endpoint(listed.endpoint.clone()));
    claims.push(InstanceRef::from(&listed).with_owner("guessed"));
    for which in claims {
        let error = registry.inner.unregister(&which).await.unwrap_err();
        assert!(matches!(error, RegistryError::Owned { .. }), "{error}");
        let error = registry.inner.heartbeat(&which).await.unwrap_err();
        assert!(matches!(error, RegistryError::Owned { .. }), "{error}");
    }
    for stranger in [weather(), weather().with_instance(&*listed.instance)] {
        let error = registry.inner.register(stranger).await.unwrap_err();
        assert!(matches!(error, RegistryError::Owned { .. }), "{error}");
    }
    pass(300).await;
    assert!(handle.is_registered() && handle.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_second_agent_at_one_endpoint_takes_over_when_the_first_leaves() {
    let registry = FlakyRegistry::default();
    let first = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    first.registered().await.unwrap();
    let second = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    pass(1000).await;
    assert!(first.is_registered() && !second.is_registered() && !second.is_ended());
    assert!(second.last_error().unwrap().is_duplicate());
    first.unregister().await.unwrap();
    let start = Instant::now();
    second.registered().await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(33));
    assert!(registry.has("weather").await && second.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_successor_of_a_crashed_agent_takes_over_without_a_gap() {
    let registry = FlakyRegistry::default();
    let crashed = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    crashed.registered().await.unwrap();
    crashed.abort();
    let successor = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    let start = Instant::now();
    while !successor.is_registered() {
        assert!(registry.has("weather").await);
        pass(1).await;
    }
    // Half of the lease, plus the tenth by which each of the two delays may be longer.
    assert!(start.elapsed() <= Duration::from_secs(51));
    pass(300).await;
    assert!(registry.has("weather").await && successor.is_registered());
}

#[tokio::test(start_paused = true)]
async fn the_same_owner_key_replaces_at_once() {
    let registry = FlakyRegistry::default();
    let crashed = weather().with_owner("kept in a file");
    let crashed = RegistrationHandle::start(registry.clone(), crashed).unwrap();
    crashed.registered().await.unwrap();
    crashed.abort();
    let restarted = weather().with_owner("kept in a file");
    let instance = restarted.instance.clone();
    let restarted = RegistrationHandle::start(registry.clone(), restarted).unwrap();
    let start = Instant::now();
    restarted.registered().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(
        registry.lookup("weather").await.unwrap()[0].instance,
        instance
    );
}

#[tokio::test(start_paused = true)]
async fn a_replaced_agent_reports_the_loss_and_is_back_when_the_other_leaves() {
    let registry = FlakyRegistry::default();
    let honest = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    honest.registered().await.unwrap();
    // The lease of the agent expires, and another instance registers at the same endpoint.
    registry.set(Behavior::Unreachable);
    pass(91).await;
    assert!(honest.lost().await.unwrap().is_unavailable());
    let other = weather();
    registry.inner.register(other.clone()).await.unwrap();
    registry.set(Behavior::Works);
    for _ in 0..20 {
        pass(20).await;
        registry
            .inner
            .heartbeat(&InstanceRef::from(&other))
            .await
            .unwrap();
    }
    assert!(!honest.is_ended() && !honest.is_registered());
    assert!(honest.lost().await.unwrap().is_duplicate());
    // The agent does not replace the other instance, but registers again after the other instance
    // has left.
    registry
        .inner
        .unregister(&InstanceRef::from(&other))
        .await
        .unwrap();
    let start = Instant::now();
    honest.registered().await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(33));
    // The agent also registers again if the other instance only stops sending heartbeats.
    registry.set(Behavior::Unreachable);
    pass(91).await;
    registry.inner.register(weather()).await.unwrap();
    registry.set(Behavior::Works);
    pass(80).await;
    assert!(honest.is_registered());
}

#[tokio::test(start_paused = true)]
async fn an_aborted_registration_expires() {
    let registry = FlakyRegistry::default();
    let handle = RegistrationHandle::start(registry.clone(), weather()).unwrap();
    handle.registered().await.unwrap();
    handle.abort();
    pass(89).await;
    assert!(handle.is_ended() && registry.has("weather").await);
    pass(2).await;
    assert!(!registry.has("weather").await && !handle.is_registered());
    assert!(handle.unregister().await.is_err());
}

#[tokio::test]
async fn an_invalid_registration_is_refused_at_once() {
    let mut nameless = weather();
    nameless.name.clear();
    let error = RegistrationHandle::start(LocalRegistry::new(), nameless).unwrap_err();
    assert!(
        matches!(error, RegistryError::InvalidName { .. }),
        "{error}"
    );
}
