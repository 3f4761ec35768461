//! The trait [`Backend`], and the helpers of the test suite.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use agentwire_transport::Endpoint;
use tokio::time::timeout;

use crate::{Event, InstanceRef, Registration, Registry, RegistryConfig, Watch, WatchScope};

/// A backend that the test suite tests.
pub trait Backend: Sized + Send + Sync + 'static {
    /// The type of the handles of the registry.
    type Registry: Registry;

    /// Starts an empty registry for the test with the given name. Dropping the backend shuts down
    /// the registry.
    fn start(test: &str, config: RegistryConfig) -> impl Future<Output = Self> + Send;

    /// Returns another handle to the same registry.
    fn registry(&self) -> impl Future<Output = Self::Registry> + Send;
}

pub(super) async fn within<F: Future>(work: F) -> F::Output {
    timeout(LIMIT, work).await.expect("timed out")
}

/// A backend and a handle to its registry.
pub(super) struct Fixture<B: Backend> {
    pub(super) backend: B,
    pub(super) registry: B::Registry,
}

impl<B: Backend> Fixture<B> {
    pub(super) async fn start(test: &str) -> Self {
        Self::with(test, RegistryConfig::new().lease(LONG_LEASE)).await
    }

    pub(super) async fn with(test: &str, config: RegistryConfig) -> Self {
        let backend = within(B::start(test, config)).await;
        let registry = within(backend.registry()).await;
        Self { backend, registry }
    }

    pub(super) async fn register(&self, registration: &Registration) {
        let registered = self.registry.register(registration.clone());
        within(registered).await.expect("register");
    }

    pub(super) async fn unregister(&self, registration: &Registration) {
        let which = InstanceRef::from(registration);
        let unregistered = self.registry.unregister(&which);
        within(unregistered).await.expect("unregister");
    }

    pub(super) async fn lookup(&self, name: &str) -> Vec<Arc<Registration>> {
        within(self.registry.lookup(name)).await.expect("lookup")
    }

    pub(super) async fn list(&self) -> Vec<Arc<Registration>> {
        within(self.registry.list()).await.expect("list")
    }

    /// Returns a watch and its first snapshot. The watch reports all later changes.
    pub(super) async fn watch(&self, scope: WatchScope) -> (Vec<Arc<Registration>>, Watch) {
        let mut watch = self.registry.watch(scope);
        match next(&mut watch).await {
            Event::Snapshot {
                registrations,
                resync: false,
            } => (registrations, watch),
            other => panic!("a watch must begin with a snapshot, not {other:?}"),
        }
    }

    /// Waits until a name has no instance.
    pub(super) async fn wait_until_gone(&self, name: &str) {
        within(async {
            let mut poll = tokio::time::interval(Duration::from_millis(5));
            while !self.registry.lookup(name).await.expect("lookup").is_empty() {
                poll.tick().await;
            }
        })
        .await;
    }
}

pub(super) async fn next(watch: &mut Watch) -> Event {
    within(watch.next())
        .await
        .expect("the watch has ended")
        .expect("the watch has failed")
}

/// Returns an endpoint without a listener.
pub(super) fn endpoint(number: u16) -> Endpoint {
    Endpoint::tcp("198.51.100.1", number).expect("endpoint")
}

/// Returns a registration with a unique endpoint.
pub(super) fn agent(name: &str) -> Registration {
    static NEXT: AtomicU16 = AtomicU16::new(1000);
    Registration::new(name, endpoint(NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Returns the ports of registrations. The ports identify the registrations in a test.
pub(super) fn ports(registrations: &[Arc<Registration>]) -> Vec<u16> {
    let port = |registration: &Arc<Registration>| match registration.endpoint {
        Endpoint::Tcp { port, .. } => port,
        _ => panic!("unexpected endpoint: {registration:?}"),
    };
    registrations.iter().map(port).collect()
}

/// The timeout of every operation. The timeout is long because it only ends tests that would hang.
const LIMIT: Duration = Duration::from_secs(30);

/// A lease that does not expire during a test, even on a busy machine.
pub(super) const LONG_LEASE: Duration = Duration::from_secs(600);

/// A lease that is short enough for a test to wait for its expiry.
pub(super) const SHORT_LEASE: Duration = Duration::from_millis(300);
