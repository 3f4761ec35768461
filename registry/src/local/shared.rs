use std::{
    sync::{
        Arc, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agentwire_transport::internal::RwLock;
use tokio::{
    runtime::Handle,
    sync::{
        Notify,
        broadcast::{Receiver, Sender},
    },
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{sweeper::Sweeper, table::Table};
use crate::{Event, RegistryConfig, WatchScope, registration::sort};

/// What all handles of one registry share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: RegistryConfig,
    table: RwLock<Table>,
    /// Sent to with the table locked, so that events come in the order of what happened.
    events: Sender<Event>,
    /// There is a sweeper: as long as anything is registered, and a runtime for it. It says itself, with the table
    /// locked, that nothing is left to do.
    is_swept: AtomicBool,
    /// Told of when the sweeper ended with its runtime. Those who wait for it do not keep the registry alive.
    lost_sweeper: Arc<Notify>,
    /// Ends the sweeper.
    stop: CancellationToken,
}

/// How many entries are looked at before others get the lock.
const BATCH: usize = 256;

/// A sweep waits at least for this part of a lease, so that entries that are due one after the other are removed
/// together.
const SWEEPS_PER_LEASE: u32 = 64;

impl Shared {
    pub(super) fn new(config: RegistryConfig) -> Self {
        Self {
            events: Sender::new(config.watch_capacity()),
            table: RwLock::new(Table::new(config.clone())),
            is_swept: AtomicBool::new(false),
            lost_sweeper: Arc::default(),
            stop: CancellationToken::new(),
            config,
        }
    }

    /// Looks something up.
    pub(super) fn read<T>(self: &Arc<Self>, look: impl FnOnce(&Table) -> T) -> T {
        let result = look(&self.reading());
        self.ensure_sweeper();
        result
    }

    /// Changes something, and tells those who watch.
    pub(super) fn write<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Table, &mut Vec<Event>) -> T,
    ) -> T {
        let result = {
            let mut table = self.writing();
            let mut events = Vec::new();
            let result = change(&mut table, &mut events);
            self.tell(events);
            result
        };
        self.ensure_sweeper();
        result
    }

    /// What is there now, and all that happens from then on.
    pub(super) fn subscribe(&self, scope: &WatchScope, resync: bool) -> (Event, Receiver<Event>) {
        loop {
            {
                // Nothing happens while it is read, though others may look things up and be heard.
                let table = self.reading();
                let now = Instant::now();
                // What is not in the snapshot must not be said to expire afterwards.
                if !table.is_due(now) {
                    let mut all = match scope {
                        WatchScope::All => table.all(now),
                        WatchScope::Name(name) => table.lookup(name, now),
                    };
                    let events = self.events.subscribe();
                    drop(table);
                    sort(&mut all);
                    return (Event::snapshot(all, resync), events);
                }
            }
            self.sweep_some(&mut self.writing());
        }
    }

    /// Removes some of what is over, and tells when to look again, if anything is left. For the sweeper.
    pub(super) fn sweep(&self) -> Option<Instant> {
        let mut table = self.writing();
        let (now, next) = self.sweep_some(&mut table);
        if next.is_none() {
            self.is_swept.store(false, Ordering::Release);
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

    fn sweep_some(&self, table: &mut Table) -> (Instant, Option<Instant>) {
        let (now, mut expired) = (Instant::now(), Vec::new());
        let next = table.sweep(now, BATCH, &mut expired);
        if !expired.is_empty() {
            tracing::debug!(count = expired.len(), "leases are over");
        }
        self.tell(expired);
        (now, next)
    }

    /// Sees to it that there is a sweeper, if there is anything to sweep and a runtime here. Without one, what is over is
    /// not given out all the same. True if there is one.
    pub(super) fn ensure_sweeper(self: &Arc<Self>) -> bool {
        if !self.is_swept.load(Ordering::Acquire) && !self.reading().is_empty() {
            if let Ok(runtime) = Handle::try_current() {
                if !self.is_swept.swap(true, Ordering::AcqRel) {
                    let sweeper = Sweeper::new(Arc::downgrade(self));
                    // If the runtime is about to end, it is lost at once.
                    runtime.spawn(sweeper.run(self.stop.clone()));
                }
            }
        }
        self.is_swept.load(Ordering::Acquire)
    }

    /// What wakes whoever needs a sweeper when there is none any more.
    pub(super) fn on_lost_sweeper(&self) -> Arc<Notify> {
        Arc::clone(&self.lost_sweeper)
    }

    pub(super) fn lost_sweeper(&self) {
        self.is_swept.store(false, Ordering::Release);
        // One that panicked, for want of time in its runtime, would do so again at once.
        if !std::thread::panicking() {
            self.lost_sweeper.notify_waiters();
        }
    }

    fn tell(&self, events: Vec<Event>) {
        for event in events {
            // Nobody may be there to hear it.
            let _ = self.events.send(event);
        }
    }

    fn reading(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read()
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
