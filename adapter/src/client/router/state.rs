//! The state shared by the calls, connectors and tasks of a discovery.

use std::{
    fmt,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use agentwire_registry::{Event, Registration, RegistryError, SharedRegistry};
use agentwire_transport::internal::{Mutex, Untrusted};
use tokio::{sync::Notify, time::Instant};
use tokio_util::task::AbortOnDropHandle;

use super::{
    cache::{Cache, LookupStart},
    health::{Change, FailureEpoch, Outcome},
    instance::Instance,
    lookups::Lookups,
};
use crate::{
    client::connect::ConnectOptions,
    observer::{InstanceEvent, Observers},
};

/// The state of a discovery, protected by a lock. The lock is never held across an await point.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) registry: SharedRegistry,
    pub(super) connect_timeout: Duration,
    /// How connections to instances are opened.
    pub(super) connect: ConnectOptions,
    observers: Observers,
    state: Mutex<State>,
    /// Wakes waiting calls so that they choose an instance again. The calls are woken when a lookup
    /// ends, when the watch reports an event, and when an instance has recovered or may be probed.
    pub(super) changed: Notify,
}

/// The known instances, and the tasks that update them. Dropping the state aborts the tasks.
#[derive(Debug)]
pub(super) struct State {
    pub(super) cache: Cache,
    pub(super) lookups: Lookups,
    /// The task that watches the registry.
    pub(super) follower: Option<AbortOnDropHandle<()>>,
    pub(super) closed: bool,
}

impl Shared {
    pub(super) fn new(
        registry: SharedRegistry,
        name: String,
        connect_timeout: Duration,
        connect: ConnectOptions,
        observers: Observers,
        cache: Cache,
    ) -> Self {
        Self {
            name,
            registry,
            connect_timeout,
            connect,
            observers,
            state: Mutex::new(State {
                cache,
                lookups: Lookups::default(),
                follower: None,
                closed: false,
            }),
            changed: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Applies the outcome of an attempt that began in `epoch`.
    pub(super) fn report(&self, instance: u64, epoch: FailureEpoch, outcome: Outcome) {
        let now = Instant::now();
        let (change, removed, observed) = {
            let mut state = self.lock();
            let instances = &mut state.cache.instances;
            let (change, removed) = instances.report(instance, epoch, outcome, now);
            let is_observed = change != Change::None && self.observers.get().is_some();
            let find = || instances.members.iter().find(|one| one.id == instance);
            let observed = is_observed.then(|| find().or(removed.as_ref()).cloned());
            (change, removed, observed.flatten())
        };
        if let Some(instance) = observed {
            self.report_change(&instance, change, outcome);
        }
        if change == Change::Available {
            self.changed.notify_waiters();
        }
        self.drain(removed.as_slice());
    }

    /// Tells the observer that an instance was ejected or has recovered.
    fn report_change(&self, instance: &Instance, change: Change, outcome: Outcome) {
        let event = InstanceEvent::new(&self.name, &instance.endpoint);
        let has_recovered = matches!(
            outcome,
            Outcome::Connected | Outcome::Answered | Outcome::AnsweredError
        );
        self.observers.report(|observer| match change {
            Change::Ejected => observer.instance_ejected(&event),
            Change::Available if has_recovered => observer.instance_recovered(&event),
            Change::Available | Change::None => {}
        });
    }

    /// Applies the result of a lookup. If a call is waiting for a later lookup, starts that lookup
    /// and returns its number.
    pub(super) fn looked_up(
        &self,
        number: u64,
        result: Result<Vec<Arc<Registration>>, RegistryError>,
        start: LookupStart,
    ) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.lock();
        let (gone, failure) = match result {
            Ok(found) => (state.cache.looked_up(&found, start, now), None),
            Err(error) => {
                tracing::debug!(agent = self.name, %error, "registry lookup failed");
                (Vec::new(), Some(error))
            }
        };
        let is_failure = failure.is_some();
        if state.lookups.end(number, failure) && is_failure {
            state.cache.trust_for_now(now);
        }
        let is_another_wanted =
            state.lookups.is_another_wanted() && state.cache.instances.members.is_empty(now);
        let next = is_another_wanted.then(|| state.lookups.begin(now));
        drop(state);
        self.changed.notify_waiters();
        self.drain(&gone);
        next
    }

    /// Applies an event of the watch.
    pub(super) fn apply(&self, event: &Event) {
        if event.is_resync() {
            self.observers
                .report(|observer| observer.watch_resynced(&self.name));
        }
        let gone = self.lock().cache.apply(event, Instant::now());
        self.changed.notify_waiters();
        self.drain(&gone);
    }

    /// Records that no watch is live.
    pub(super) fn lost_watch(&self) {
        self.lock().cache.lost_watch();
    }

    /// Closes the connections to removed instances once their calls have ended.
    ///
    /// The caller must not hold the lock, because closing the connections wakes calls that are
    /// waiting for a connection.
    fn drain(&self, removed: &[Arc<Instance>]) {
        for instance in removed {
            tracing::debug!(agent = self.name, endpoint = %Untrusted(&instance.endpoint), "instance removed");
            instance.drain();
        }
    }

    /// Aborts all tasks, and stops accepting calls.
    pub(super) fn close(&self) {
        let instances: Vec<_> = {
            let mut state = self.lock();
            state.closed = true;
            state.follower = None;
            state.lookups.keep(None);
            state.cache.instances.end_probes();
            state
                .cache
                .instances
                .members
                .iter()
                .map(Arc::clone)
                .collect()
        };
        for instance in instances {
            instance.drain();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
