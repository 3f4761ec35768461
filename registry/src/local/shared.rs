//! The state that all handles of a [`LocalRegistry`](super::LocalRegistry) share, and the task that
//! removes expired registrations.

use std::{
    sync::{
        Arc, RwLockReadGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agentwire_transport::internal::RwLock;
use tokio::{
    runtime::Handle,
    select,
    sync::{
        Notify,
        broadcast::{Receiver, Sender},
    },
    task::yield_now,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::table::Table;
use crate::{Event, RegistryConfig, WatchScope, registration::sort};

/// The state that all handles of a registry share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: RegistryConfig,
    table: RwLock<Table>,
    /// The sender of events. Events are sent while the table is locked, so they have the order of
    /// the changes.
    events: Sender<Event>,
    /// Whether a sweeper task exists. If the table is empty, the sweeper clears the flag while it
    /// holds the write lock of the table.
    has_sweeper: AtomicBool,
    /// Notified when the sweeper has been dropped with its runtime. The notification is stored in
    /// an `Arc` so that a waiting watch does not keep the registry alive.
    sweeper_lost: Arc<Notify>,
    /// Cancelled when the last handle is dropped, so that the sweeper ends.
    stop: CancellationToken,
}

impl Shared {
    pub(super) fn new(config: RegistryConfig) -> Self {
        Self {
            events: Sender::new(config.watch_buffer),
            table: RwLock::new(Table::new(config.clone())),
            has_sweeper: AtomicBool::new(false),
            sweeper_lost: Arc::default(),
            stop: CancellationToken::new(),
            config,
        }
    }

    /// Reads the table.
    pub(super) fn read<T>(self: &Arc<Self>, look: impl FnOnce(&Table) -> T) -> T {
        let result = look(&self.table());
        self.ensure_sweeper();
        result
    }

    /// Changes the table and sends the events of the change.
    pub(super) fn write<T>(
        self: &Arc<Self>,
        change: impl FnOnce(&mut Table, &mut Vec<Event>) -> T,
    ) -> T {
        let result = {
            let mut table = self.table.write();
            let mut events = Vec::new();
            let result = change(&mut table, &mut events);
            self.send(events);
            result
        };
        self.ensure_sweeper();
        result
    }

    /// Returns a snapshot and a receiver of all later events.
    pub(super) fn subscribe(&self, scope: &WatchScope, resync: bool) -> (Event, Receiver<Event>) {
        loop {
            {
                // The read lock prevents changes but allows concurrent lookups and heartbeats.
                let table = self.table();
                let now = Instant::now();
                // The snapshot does not contain expired entries, so their expiry must not be
                // reported later.
                if !table.is_due(now) {
                    let mut all = match scope {
                        WatchScope::All => table.index().all(now),
                        WatchScope::Name(name) => table.index().lookup(name, now),
                    };
                    let events = self.events.subscribe();
                    drop(table);
                    sort(&mut all);
                    return (Event::snapshot(all, resync), events);
                }
            }
            self.sweep_batch(&mut self.table.write());
        }
    }

    /// Starts the sweeper if the table is not empty and the caller is on a runtime. Returns whether
    /// a sweeper is running.
    ///
    /// Even without a sweeper, expired registrations are never returned.
    pub(super) fn ensure_sweeper(self: &Arc<Self>) -> bool {
        if !self.has_sweeper.load(Ordering::Acquire) && !self.table().is_empty() {
            if let Ok(runtime) = Handle::try_current() {
                if !self.has_sweeper.swap(true, Ordering::AcqRel) {
                    let sweeper = Sweeper::new(Arc::downgrade(self));
                    // A runtime that is shutting down drops the sweeper immediately. Dropping the
                    // sweeper clears the flag.
                    runtime.spawn(sweeper.run(self.stop.clone()));
                }
            }
        }
        self.has_sweeper.load(Ordering::Acquire)
    }

    /// Returns the notification that the sweeper has been dropped with its runtime. A watch on
    /// another runtime must then start a new sweeper.
    pub(super) fn sweeper_lost(&self) -> Arc<Notify> {
        Arc::clone(&self.sweeper_lost)
    }

    /// Removes a batch of expired entries. Returns the time of the next sweep, or `None` if the
    /// table is empty.
    fn sweep(&self) -> Option<Instant> {
        let mut table = self.table.write();
        let (now, next) = self.sweep_batch(&mut table);
        if next.is_none() {
            self.has_sweeper.store(false, Ordering::Release);
        }
        let pause: Duration = self.config.lease.timeout() / SWEEPS_PER_LEASE;
        next.map(|next| {
            if next <= now {
                // The next batch is already due.
                now
            } else {
                next.max(now + pause)
            }
        })
    }

    fn sweep_batch(&self, table: &mut Table) -> (Instant, Option<Instant>) {
        let (now, mut expired) = (Instant::now(), Vec::new());
        let next = table.sweep(now, BATCH, &mut expired);
        if !expired.is_empty() {
            tracing::debug!(count = expired.len(), "leases expired");
        }
        self.send(expired);
        (now, next)
    }

    fn on_sweeper_lost(&self) {
        self.has_sweeper.store(false, Ordering::Release);
        // The sweeper panics if time is not enabled on its runtime. A new sweeper would also panic,
        // so watches are not notified.
        if !std::thread::panicking() {
            self.sweeper_lost.notify_waiters();
        }
    }

    fn send(&self, events: Vec<Event>) {
        for event in events {
            // Sending fails only if there is no watch.
            let _ = self.events.send(event);
        }
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The task that removes expired entries. The sweeper ends when the registry is dropped or the
/// table is empty.
struct Sweeper {
    shared: Weak<Shared>,
    /// Whether the task has ended by itself. If the flag is false when the sweeper is dropped, its
    /// runtime has shut down.
    is_done: bool,
}

impl Sweeper {
    fn new(shared: Weak<Shared>) -> Self {
        Self {
            shared,
            is_done: false,
        }
    }

    async fn run(mut self, stop: CancellationToken) {
        while let Some(next) = self.shared.upgrade().and_then(|shared| shared.sweep()) {
            if next <= Instant::now() {
                // Let other tasks run between two batches.
                yield_now().await;
            } else {
                select! {
                    () = stop.cancelled() => break,
                    () = sleep_until(next) => {}
                }
            }
        }
        self.is_done = true;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let (false, Some(shared)) = (self.is_done, self.shared.upgrade()) {
            shared.on_sweeper_lost();
        }
    }
}

/// The maximum number of entries that a sweep checks while it holds the lock.
const BATCH: usize = 256;

/// The maximum number of sweeps per lease. The limit ensures that entries are removed together if
/// they expire in quick succession.
const SWEEPS_PER_LEASE: u32 = 64;
