//! The state that all handles of a [`RedisRegistry`](super::RedisRegistry) share.

use std::{sync::Arc, time::Duration};

use redis::Client;
use tokio::sync::{Semaphore, broadcast, watch};

use super::{
    change::Change,
    heard::Heard,
    listener::Listener,
    snapshot::SnapshotReader,
    status::Status,
    store::Store,
    sweeper,
    tasks::{TaskKind, Tasks},
};
use crate::RegistryConfig;

/// The state and the background tasks that all handles of a registry share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: RegistryConfig,
    pub(super) store: Arc<Store>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) status: Arc<watch::Sender<Status>>,
    pub(super) listener: Listener,
    timeout: Duration,
    snapshot_permits: Arc<Semaphore>,
    tasks: Tasks,
}

impl Shared {
    pub(super) fn new(
        config: RegistryConfig,
        store: Store,
        client: Client,
        channel: String,
        timeout: Duration,
    ) -> Self {
        let changes = broadcast::Sender::new(config.watch_buffer);
        let status = Arc::new(watch::Sender::default());
        let listener = Listener {
            registry: store.registry().to_owned(),
            client,
            channel,
            timeout,
            changes: changes.clone(),
            status: Arc::clone(&status),
            demoted: store.demoted(),
            heard: Arc::default(),
        };
        Self {
            config,
            store: Arc::new(store),
            changes,
            tasks: Tasks::new(Arc::clone(&status)),
            status,
            listener,
            timeout,
            snapshot_permits: Arc::new(Semaphore::new(MAX_SNAPSHOTS)),
        }
    }

    /// Starts the tasks that watches require, unless the tasks are running.
    pub(super) fn ensure_tasks(&self) {
        self.ensure_sweeper();
        self.tasks
            .ensure(TaskKind::Listen, || self.listener.clone().run());
    }

    /// Starts the sweeper unless it is running.
    pub(super) fn ensure_sweeper(&self) {
        let interval = sweeper::interval(self.config.lease.timeout());
        self.tasks.ensure(TaskKind::Sweep, || {
            let (store, status) = (Arc::clone(&self.store), Arc::clone(&self.status));
            let heard: Arc<Heard> = Arc::clone(&self.listener.heard);
            sweeper::run(store, status, heard, interval)
        });
    }

    /// Returns a reader of snapshots that does not keep the registry alive.
    pub(super) fn snapshot_reader(&self) -> SnapshotReader {
        SnapshotReader {
            store: Arc::clone(&self.store),
            permits: Arc::clone(&self.snapshot_permits),
            changes: self.changes.clone(),
            status: self.status.subscribe(),
            catch_up_limit: self.timeout,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Watches that are waiting for a permit must end when the registry is dropped.
        self.snapshot_permits.close();
    }
}

/// The maximum number of snapshots that are read concurrently. After a lost connection, every watch
/// reads a snapshot, over the same connection as the heartbeats. The limit prevents the snapshots
/// from delaying the heartbeats.
const MAX_SNAPSHOTS: usize = 2;
