use std::{sync::Arc, time::Duration};

use redis::Client;
use tokio::sync::{Semaphore, broadcast, watch};

use super::{
    change::Change,
    listener::Listener,
    snapshot::Snapshots,
    status::Status,
    store::Store,
    sweeper,
    tasks::{Kind, Tasks},
};
use crate::RegistryConfig;

/// What all handles of one registry share, and the tasks that end with it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: RegistryConfig,
    pub(super) store: Arc<Store>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) status: Arc<watch::Sender<Status>>,
    pub(super) listener: Listener,
    timeout: Duration,
    turns: Arc<Semaphore>,
    tasks: Tasks,
}

/// How many snapshots are taken at a time. All who watch want one when a connection was lost, and heartbeats go over
/// the same one.
const SNAPSHOTS: usize = 2;

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
            moved: store.moved(),
        };
        Self {
            config,
            store: Arc::new(store),
            changes,
            tasks: Tasks::new(Arc::clone(&status)),
            status,
            listener,
            timeout,
            turns: Arc::new(Semaphore::new(SNAPSHOTS)),
        }
    }

    /// Begins with what those who watch rely on, unless it goes on already.
    pub(super) fn run_tasks(&self) {
        self.sweep();
        self.listen();
    }

    /// Begins to sweep, unless it does already.
    pub(super) fn sweep(&self) {
        let interval = sweeper::interval(self.config.lease.timeout());
        self.tasks.run(Kind::Sweep, || {
            let (store, status) = (Arc::clone(&self.store), Arc::clone(&self.status));
            sweeper::sweep(store, status, interval)
        });
    }

    /// Begins to listen, unless it does already.
    fn listen(&self) {
        self.tasks
            .run(Kind::Listen, || self.listener.clone().listen());
    }

    /// What takes a snapshot, and keeps nothing of the registry alive but the way to Redis.
    pub(super) fn snapshots(&self) -> Snapshots {
        Snapshots {
            store: Arc::clone(&self.store),
            turns: Arc::clone(&self.turns),
            changes: self.changes.clone(),
            status: self.status.subscribe(),
            limit: self.timeout,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Whoever waits for a turn has nothing to wait for.
        self.turns.close();
    }
}
