use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agentwire_registry::{Event, SharedRegistry};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
    task::AbortHandle,
    time::Instant,
};

use super::{cache::Cache, follower::follow, member::Member};

/// What the calls, the connections and the follower of one name share. The lock is held for moments only.
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) registry: SharedRegistry,
    pub(super) connect_timeout: Duration,
    state: Mutex<State>,
    /// Something is better than it was: there is an instance more, or one is back.
    pub(super) changed: Notify,
    /// Lets one call at a time ask the registry.
    pub(super) asking: Semaphore,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) cache: Cache,
    follower: Option<AbortHandle>,
    closed: bool,
}

impl Shared {
    pub(super) fn new(
        registry: SharedRegistry,
        name: String,
        connect_timeout: Duration,
        cache: Cache,
    ) -> Self {
        Self {
            name,
            registry,
            connect_timeout,
            state: Mutex::new(State {
                cache,
                follower: None,
                closed: false,
            }),
            changed: Notify::new(),
            asking: Semaphore::new(1),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while the lock is held, so its data is always whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the registry watched, if it is not yet, or if whoever did has ended with its runtime.
    pub(super) fn follow(self: &Arc<Self>, state: &mut State) {
        let is_followed = (state.follower.as_ref()).is_some_and(|task| !task.is_finished());
        if is_followed || state.closed {
            return;
        }
        state.cache.lost_watch();
        // Without a runtime nobody can be called either.
        if let Ok(runtime) = Handle::try_current() {
            let (registry, name) = (self.registry.clone(), self.name.clone());
            let follower = runtime.spawn(follow(Arc::downgrade(self), registry, name));
            state.follower = Some(follower.abort_handle());
        }
    }

    /// Takes in what the watch tells.
    pub(super) fn apply(&self, event: &Event) {
        let gone = self.state().cache.apply(event);
        self.changed.notify_waiters();
        self.retire(&gone);
    }

    /// An instance could not be reached.
    pub(super) fn failed(&self, member: u64) {
        self.state().cache.instances.failed(member, Instant::now());
    }

    /// An instance was reached.
    pub(super) fn proved(&self, member: u64) {
        let is_news = self.state().cache.instances.proved(member);
        if is_news {
            self.changed.notify_waiters();
        }
    }

    /// Closes the connections to instances that are gone, once their calls end. Not with the lock held: calls that
    /// wait for these connections are woken.
    pub(super) fn retire(&self, gone: &[Arc<Member>]) {
        for member in gone {
            tracing::debug!(name = self.name, endpoint = %member.endpoint, "instance is gone");
            member.retire();
        }
    }

    /// Follows no more, and lets no more calls be made.
    pub(super) fn close(&self) {
        let members: Vec<_> = {
            let mut state = self.state();
            state.closed = true;
            if let Some(follower) = state.follower.take() {
                follower.abort();
            }
            state.cache.instances.members().map(Arc::clone).collect()
        };
        for member in members {
            member.retire();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(follower) = self.state().follower.take() {
            follower.abort();
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
