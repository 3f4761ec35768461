//! A watch of a [`RedisRegistry`](super::RedisRegistry).

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use futures_util::stream;
use tokio::{
    select,
    sync::{
        broadcast::{self, error::RecvError},
        watch,
    },
    task::JoinSet,
    time::sleep,
};

use super::{
    change::Change,
    fault::is_permanent,
    position::{Position, Sequence},
    retry::{self, RefusalCount},
    shared::Shared,
    snapshot::{SnapshotError, SnapshotReader, SyncedSnapshot},
    status::{Status, record_epoch},
};
use crate::{Event, RegistryError, Watch, WatchScope, backend::WatchExt, registration::sort};

/// The state of a watch.
pub(super) struct Watcher {
    /// The registry. The reference is weak because a watch does not keep the registry alive.
    shared: Weak<Shared>,
    scope: WatchScope,
    changes: broadcast::Receiver<Change>,
    status: watch::Receiver<Status>,
    /// The position of the watch, or `None` if the watch needs a snapshot.
    sync_point: Option<SyncPoint>,
    /// Whether there is a sync point. `Watch::is_live` reads this flag from any thread. Relaxed
    /// accesses are sufficient, because the flag guards no other data.
    is_synced: Arc<AtomicBool>,
    /// Whether the first snapshot has been returned. All later snapshots are resyncs.
    has_begun: bool,
    /// Whether an error has been returned.
    has_failed: bool,
}

/// The position up to which a watch has received all changes, and the subscription that received
/// them.
struct SyncPoint {
    subscriptions: u64,
    position: Position,
}

impl Watcher {
    pub(super) fn new(shared: &Arc<Shared>, scope: WatchScope) -> Self {
        Self {
            changes: shared.changes.subscribe(),
            status: shared.status.subscribe(),
            shared: Arc::downgrade(shared),
            scope,
            sync_point: None,
            is_synced: Arc::default(),
            has_begun: false,
            has_failed: false,
        }
    }

    pub(super) fn into_watch(self) -> Watch {
        let (status, is_synced) = (self.status.clone(), Arc::clone(&self.is_synced));
        let events = stream::unfold(self, |mut watcher| async {
            let event = watcher.next().await?;
            Some((event, watcher))
        });
        Watch::new(events)
            .with_liveness(move || is_synced.load(Relaxed) && status.borrow().is_subscribed)
    }

    async fn next(&mut self) -> Option<Result<Event, RegistryError>> {
        loop {
            self.is_synced.store(self.sync_point.is_some(), Relaxed);
            let Some(sync_point) = &mut self.sync_point else {
                return self.resync().await;
            };
            let change = select! {
                // Both branches are cancel safe. The status has priority, because buffered changes
                // are useless after the subscription is lost.
                biased;
                changed = self.status.changed() => {
                    changed.ok()?;
                    let status = self.status.borrow_and_update().clone();
                    if status.lacks_tasks() {
                        // A task was dropped with its runtime. Start the lost task again on the
                        // runtime of this watch.
                        self.shared.upgrade()?.ensure_tasks();
                    }
                    if !sync_point.is_current(&status) {
                        self.sync_point = None;
                    }
                    continue;
                }
                change = self.changes.recv() => change,
            };
            match change {
                Ok(change) => match (sync_point.position.advance(&change.position), change.event) {
                    (Sequence::Old, _) => {}
                    (Sequence::Next, Some(event)) => {
                        let registration = event.registration();
                        if registration.is_some_and(|it| self.scope.contains(it)) {
                            return Some(Ok(event));
                        }
                    }
                    (Sequence::Next, None) | (Sequence::Gap, _) => self.sync_point = None,
                },
                Err(RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "watch too slow and events lost; resyncing");
                    self.sync_point = None;
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Waits until Redis can be reached, and returns a snapshot.
    async fn resync(&mut self) -> Option<Result<Event, RegistryError>> {
        if self.has_failed {
            return None;
        }
        let (mut refusals, mut stale) = (RefusalCount::default(), 0_u32);
        let mut backoff = retry::backoff();
        loop {
            let reader = {
                let shared = self.shared.upgrade()?;
                shared.ensure_tasks();
                shared.snapshot_reader()
            };
            // The registry is not kept alive while the watch is waiting.
            let status = self.status.wait_for(Status::is_settled);
            let status = status.await.ok()?.clone();
            if let Some(fault) = status.refusal {
                return self.fail(fault.into_error(reader.store.registry()));
            }
            let result = if status.is_subscribed {
                self.read_snapshot(reader).await
            } else {
                // The listener was dropped with its runtime.
                Err(SnapshotError::Stale)
            };
            match result {
                Ok(synced) => return self.accept(synced),
                Err(SnapshotError::Closed) => return None,
                Err(SnapshotError::Stale) => {
                    stale = stale.saturating_add(1);
                    if stale % STALE_PER_WARNING == 0 {
                        tracing::warn!(
                            attempts = stale,
                            "registry changes faster than a snapshot can be read; retrying"
                        );
                    }
                }
                Err(SnapshotError::Registry(error)) => {
                    tracing::debug!(%error, "snapshot failed; retrying");
                    match &error {
                        RegistryError::InvalidName { .. } => return self.fail(error),
                        RegistryError::Refused { .. } => {
                            if refusals.should_give_up(is_permanent(&error)) {
                                return self.fail(error);
                            }
                        }
                        _ => refusals.reset(),
                    }
                }
            }
            sleep(backoff.next_delay()).await;
        }
    }

    /// Returns a snapshot as an event, and continues with the changes after the snapshot.
    fn accept(&mut self, synced: SyncedSnapshot) -> Option<Result<Event, RegistryError>> {
        record_epoch(&self.shared.upgrade()?.status, synced.snapshot.epoch());
        self.changes = synced.changes;
        let (position, mut registrations) = synced.snapshot.into_parts();
        sort(&mut registrations);
        self.sync_point = Some(SyncPoint {
            subscriptions: synced.subscriptions,
            position,
        });
        self.is_synced.store(true, Relaxed);
        let is_resync = std::mem::replace(&mut self.has_begun, true);
        Some(Ok(Event::snapshot(registrations, is_resync)))
    }

    /// Reads a snapshot in a separate task, so that the permit is released even if the watch is not
    /// polled.
    async fn read_snapshot(&self, reader: SnapshotReader) -> Result<SyncedSnapshot, SnapshotError> {
        let mut task = JoinSet::new();
        task.spawn(reader.read(self.scope.clone()));
        let mut status = self.status.clone();
        let registry_dropped = async { while status.changed().await.is_ok() {} };
        select! {
            result = task.join_next() => match result {
                Some(Ok(result)) => result,
                // The task was dropped with its runtime.
                _ => Err(SnapshotError::Stale),
            },
            () = registry_dropped => Err(SnapshotError::Closed),
        }
    }

    fn fail(&mut self, error: RegistryError) -> Option<Result<Event, RegistryError>> {
        self.has_failed = true;
        Some(Err(error))
    }
}

impl SyncPoint {
    /// Returns whether the watch has received all changes.
    fn is_current(&self, status: &Status) -> bool {
        let epoch = status.epoch.as_ref();
        status.refusal.is_none()
            && status.subscriptions == self.subscriptions
            && epoch.is_none_or(|epoch| *epoch == self.position.epoch)
    }
}

/// The number of consecutive stale snapshots after which a warning is logged.
const STALE_PER_WARNING: u32 = 10;
