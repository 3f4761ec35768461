//! The tasks of a discovery. The tasks watch the registry, look up instances, and probe ejected
//! instances.
//!
//! No other file of the router spawns tasks. A task belongs to the client and not to a call,
//! because a call may be dropped or may not be polled. The task runs on the runtime of the call
//! that starts it.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use agentwire_registry::{Registry, RegistryError, WatchScope};
use agentwire_transport::{Connector, internal::Backoff};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    connector::InstanceConnector,
    lookups::{LOOKUP_TIMEOUT, LookupTicket},
    state::{Shared, State},
};

/// Starts the task that watches the registry, unless the task is running. The task is dropped when
/// the runtime of the call that started it shuts down.
pub(super) fn follow(shared: &Arc<Shared>, state: &mut State) {
    let is_followed = (state.follower.as_ref()).is_some_and(|task| !task.is_finished());
    if is_followed || state.closed {
        return;
    }
    state.cache.lost_watch();
    state.follower = spawn(run_follower(Arc::downgrade(shared)));
}

/// Returns a ticket for the result of a lookup, and starts a lookup if no lookup is running. If
/// `fresh` is true, the ticket is for a lookup that has not yet started.
pub(super) fn look_up(
    shared: &Arc<Shared>,
    state: &mut State,
    fresh: bool,
    deadline: Instant,
    now: Instant,
) -> LookupTicket {
    let is_under_way = state.lookups.is_under_way(now);
    if !is_under_way {
        begin_lookup(shared, state, now);
    }
    let next = fresh && is_under_way;
    state.lookups.ticket(next, deadline, now)
}

/// Starts a lookup in the background, unless a lookup is running or the last lookup started less
/// than `age` ago.
pub(super) fn refresh(shared: &Arc<Shared>, state: &mut State, age: Duration, now: Instant) {
    if state.lookups.is_older_than(age, now) && !state.lookups.is_under_way(now) {
        begin_lookup(shared, state, now);
    }
}

/// Starts probing an ejected instance, if a probe is due.
pub(super) fn probe(shared: &Arc<Shared>, state: &mut State, now: Instant) {
    if state.closed {
        return;
    }
    let Some((instance, health)) = state.cache.instances.begin_probe(now) else {
        return;
    };
    let connector = InstanceConnector::new(&instance, health, shared);
    let probe = spawn(async move {
        // The connector reports the outcome.
        drop(connector.connect().await);
    });
    if let Some(probe) = probe {
        state.cache.instances.keep_probe(instance.id, probe);
    }
}

fn begin_lookup(shared: &Arc<Shared>, state: &mut State, now: Instant) {
    if state.closed {
        return;
    }
    let number = state.lookups.begin(now);
    let task = spawn(run_lookups(Arc::downgrade(shared), number));
    state.lookups.keep(task);
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Option<AbortOnDropHandle<()>> {
    let runtime = Handle::try_current().ok()?;
    Some(AbortOnDropHandle::new(runtime.spawn(task)))
}

/// Updates the cache with the events of a watch. The owner aborts this task. The task also ends by
/// itself soon after the client is dropped.
///
/// While no watch is live, calls look up the instances.
async fn run_follower(shared: Weak<Shared>) {
    let Some((registry, name)) = names(&shared) else {
        return;
    };
    let mut backoff = Backoff::new(MIN_BACKOFF, MAX_BACKOFF);
    loop {
        let mut watch = registry.watch(WatchScope::name(name.as_str()));
        loop {
            let next = timeout(POLL_INTERVAL, watch.next()).await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            match next {
                Ok(Some(Ok(event))) => {
                    shared.apply(&event);
                    backoff.reset();
                }
                // The watch reconnects by itself and then reports a snapshot.
                Err(_) if !watch.is_live() => shared.lost_watch(),
                Err(_) => {}
                Ok(end) => {
                    if let Some(Err(error)) = end {
                        tracing::debug!(agent = name, %error, "registry watch failed");
                    }
                    shared.lost_watch();
                    break;
                }
            }
        }
        drop(watch);
        sleep(backoff.next_delay()).await;
    }
}

/// Looks up the instances, and repeats the lookup while calls are waiting for a later result.
async fn run_lookups(shared: Weak<Shared>, mut number: u64) {
    let Some((registry, name)) = names(&shared) else {
        return;
    };
    loop {
        let Some(start) = shared
            .upgrade()
            .map(|shared| shared.lock().cache.begin_lookup())
        else {
            return;
        };
        let limit = LOOKUP_TIMEOUT;
        let result = timeout(limit, registry.lookup(&name)).await;
        let result = result.unwrap_or(Err(RegistryError::NoAnswer { limit }));
        let next = shared
            .upgrade()
            .and_then(|shared| shared.looked_up(number, result, start));
        match next {
            Some(next) => number = next,
            None => return,
        }
    }
}

fn names(shared: &Weak<Shared>) -> Option<(agentwire_registry::SharedRegistry, String)> {
    let shared = shared.upgrade()?;
    Some((shared.registry.clone(), shared.name.clone()))
}

/// The first delay before a new watch is opened after a watch has ended. The delays grow up to
/// `MAX_BACKOFF`.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// The interval of checks whether a silent watch is still live.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
