//! The tasks of a discovery, which watch the registry, look up instances, and probe ejected ones.
//!
//! No other file of the router spawns tasks. A task belongs to the client, not to a call, because a
//! call may be dropped or not be polled. It runs on the runtime of the call that starts it. Outside
//! of a runtime no task starts, and no call can be made either.

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

/// Starts to watch the registry, unless a watch runs. A watch ends with the runtime of the call
/// that started it.
pub(super) fn follow(shared: &Arc<Shared>, state: &mut State) {
    let is_followed = (state.follower.as_ref()).is_some_and(|task| !task.is_finished());
    if is_followed || state.closed {
        return;
    }
    state.cache.lost_watch();
    state.follower = spawn(run_follower(Arc::downgrade(shared)));
}

/// Returns a ticket for the result of a lookup, and begins one if none is running. `fresh` requires
/// a lookup that begins after this call.
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

/// Begins a lookup that no call waits for, if the last one began at least `age` ago.
pub(super) fn refresh(shared: &Arc<Shared>, state: &mut State, age: Duration, now: Instant) {
    if state.lookups.is_older_than(age, now) && !state.lookups.is_under_way(now) {
        begin_lookup(shared, state, now);
    }
}

/// Probes one ejected instance that is due, if there is any.
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

/// Keeps the view in step with the registry. The owner aborts this task, which also ends by itself
/// soon after the client is dropped.
///
/// While no watch is live, calls look instances up.
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
                // The watch recovers by itself, with a snapshot.
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

/// Looks up the instances, and repeats while calls ask for a newer result.
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

/// The first and the longest delay before the registry is watched again after a watch has ended.
const MIN_BACKOFF: Duration = Duration::from_millis(500);
const MAX_BACKOFF: Duration = Duration::from_secs(30);

/// How often to check whether a quiet watch is still live.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
