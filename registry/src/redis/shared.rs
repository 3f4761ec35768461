use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::Client;
use tokio::{
    sync::{broadcast, watch},
    task::AbortHandle,
};

use super::{
    change::Change,
    listener::Listener,
    snapshot::{Missed, Snapshot},
    status::{Status, seen},
    store::Store,
    sweeper,
};
use crate::{RegistryConfig, RegistryError, Scope};

/// What all handles of one registry share, and the tasks that end with it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: RegistryConfig,
    pub(super) store: Arc<Store>,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) status: Arc<watch::Sender<Status>>,
    listener: Listener,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    sweeper: Option<AbortHandle>,
    /// From the first watch on.
    listener: Option<AbortHandle>,
}

impl Shared {
    pub(super) fn new(
        config: RegistryConfig,
        store: Store,
        client: Client,
        channel: String,
        timeout: Duration,
    ) -> Self {
        let changes = broadcast::Sender::new(config.watch_capacity());
        let status = Arc::new(watch::Sender::default());
        let listener = Listener {
            registry: store.registry().to_owned(),
            client,
            channel,
            timeout,
            changes: changes.clone(),
            status: Arc::clone(&status),
        };
        Self {
            config,
            store: Arc::new(store),
            changes,
            status,
            listener,
            tasks: Mutex::default(),
        }
    }

    /// Begins to sweep, unless it does already.
    pub(super) fn sweep(&self) {
        let interval = sweeper::interval(self.config.offered_lease().timeout());
        let (store, status) = (Arc::clone(&self.store), Arc::clone(&self.status));
        run(&mut self.locked().sweeper, || {
            sweeper::sweep(store, status, interval)
        });
    }

    /// Begins to listen, unless it does already.
    pub(super) fn listen(&self) {
        run(&mut self.locked().listener, || {
            self.listener.clone().listen()
        });
    }

    /// All that is registered, and from where on `changes` tell what happens.
    pub(super) async fn snapshot(
        &self,
        scope: &Scope,
        changes: &mut broadcast::Receiver<Change>,
    ) -> Result<Result<Snapshot, Missed>, RegistryError> {
        let snapshot = Snapshot::take(&self.store, scope, changes, self.listener.timeout).await?;
        if let Ok(snapshot) = &snapshot {
            seen(&self.status, snapshot.epoch());
        }
        Ok(snapshot)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a task, unless it runs already.
fn run<F>(task: &mut Option<AbortHandle>, work: impl FnOnce() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    if task.as_ref().is_none_or(AbortHandle::is_finished) {
        *task = Some(tokio::spawn(work()).abort_handle());
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner);
        for task in [&tasks.sweeper, &tasks.listener].into_iter().flatten() {
            task.abort();
        }
    }
}
