use std::{
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::broadcast::{Receiver, Sender},
    task::AbortHandle,
    time::Instant,
};

use super::{sweeper::sweep, table::Table};
use crate::{Event, RegistryConfig, Scope, registration::sort};

/// What all handles of one registry share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: RegistryConfig,
    state: RwLock<State>,
    /// Sent to with the state locked, so that events come in the order of what happened.
    events: Sender<Event>,
}

#[derive(Debug)]
struct State {
    table: Table,
    /// It lives as long as anything is registered.
    sweeper: Option<AbortHandle>,
}

/// How many entries are looked at before others get the lock.
const BATCH: usize = 256;

/// A sweep waits at least for this part of a lease, so that entries that are due one after the other are removed
/// together.
const SWEEPS_PER_LEASE: u32 = 64;

impl Shared {
    pub(super) fn new(config: RegistryConfig) -> Self {
        let state = State {
            table: Table::new(config.clone()),
            sweeper: None,
        };
        Self {
            events: Sender::new(config.watch_capacity()),
            state: RwLock::new(state),
            config,
        }
    }

    /// Looks something up.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Table) -> T) -> T {
        let state: RwLockReadGuard<'_, State> =
            self.state.read().unwrap_or_else(PoisonError::into_inner);
        look(&state.table)
    }

    /// Changes something, and tells those who watch.
    pub(super) fn write<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Table, &mut Vec<Event>) -> T,
    ) -> T {
        let mut state = self.locked();
        let mut events = Vec::new();
        let result = change(&mut state.table, &mut events);
        self.tell(events);
        // Without a runtime there is nobody to sweep; what is over is not given out all the same.
        if state.sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            if let (false, Ok(runtime)) = (state.table.is_empty(), Handle::try_current()) {
                let lease = self.config.offered_lease().timeout();
                let sweeper = runtime.spawn(sweep(Arc::downgrade(self), Instant::now() + lease));
                state.sweeper = Some(sweeper.abort_handle());
            }
        }
        result
    }

    /// What is there now, and all that happens from then on.
    pub(super) fn subscribe(&self, scope: &Scope, resync: bool) -> (Event, Receiver<Event>) {
        let mut all = Vec::new();
        let events = {
            let mut state = self.locked();
            let now = Instant::now();
            // What is not in the snapshot must not be said to expire afterwards.
            let mut expired = Vec::new();
            state.table.sweep(now, usize::MAX, &mut expired);
            self.tell(expired);
            match scope {
                Scope::All => all = state.table.all(now),
                Scope::Name(name) => all.extend(state.table.lookup(name, now)),
            }
            self.events.subscribe()
        };
        sort(&mut all);
        (Event::snapshot(all, resync), events)
    }

    /// Removes some of what is over, and tells when to look again, if anything is left.
    pub(super) fn sweep(&self) -> Option<Instant> {
        let mut state = self.locked();
        let (now, mut expired) = (Instant::now(), Vec::new());
        let next = state.table.sweep(now, BATCH, &mut expired);
        if !expired.is_empty() {
            tracing::debug!(count = expired.len(), "leases are over");
        }
        self.tell(expired);
        if next.is_none() {
            state.sweeper = None;
        }
        let pause: Duration = self.config.offered_lease().timeout() / SWEEPS_PER_LEASE;
        // What is due already is the next batch.
        next.map(|next| {
            if next <= now {
                now
            } else {
                next.max(now + pause)
            }
        })
    }

    fn tell(&self, events: Vec<Event>) {
        for event in events {
            // Nobody may be there to hear it.
            let _ = self.events.send(event);
        }
    }

    fn locked(&self) -> RwLockWriteGuard<'_, State> {
        // Nothing can panic while the lock is held, so its data is always whole.
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(sweeper) = &state.sweeper {
            sweeper.abort();
        }
    }
}
