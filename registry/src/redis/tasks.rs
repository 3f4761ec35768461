//! The background tasks of a registry: [`Tasks`].

use std::{future::Future, sync::Arc};

use agentwire_transport::internal::Mutex;
use tokio::{sync::watch, task::AbortHandle};

use super::status::Status;

/// The background tasks of a registry, with at most one task of each kind. A task ends when the
/// registry is dropped or its runtime shuts down.
#[derive(Debug)]
pub(super) struct Tasks {
    status: Arc<watch::Sender<Status>>,
    handles: Mutex<[Option<AbortHandle>; 2]>,
}

/// The kind of a background task.
#[derive(Debug, Clone, Copy)]
pub(super) enum TaskKind {
    Sweep,
    Listen,
}

impl Tasks {
    pub(super) fn new(status: Arc<watch::Sender<Status>>) -> Self {
        Self {
            status,
            handles: Mutex::default(),
        }
    }

    /// Starts a task unless a task of the same kind is running.
    pub(super) fn ensure<F>(&self, kind: TaskKind, work: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(guard) = TaskGuard::acquire(kind, &self.status) else {
            return;
        };
        let work = work();
        let task = tokio::spawn(async move {
            let _guard = guard;
            work.await;
        });
        self.handles.lock()[kind as usize] = Some(task.abort_handle());
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in self.handles.lock().iter().flatten() {
            task.abort();
        }
    }
}

/// A guard that marks a task as running in the status. The guard is dropped even if the task is
/// aborted or panics, so that a watch on another runtime can start a new task.
struct TaskGuard {
    kind: TaskKind,
    status: Arc<watch::Sender<Status>>,
}

impl TaskGuard {
    /// Returns `None` if a task of this kind is running.
    fn acquire(kind: TaskKind, status: &Arc<watch::Sender<Status>>) -> Option<Self> {
        let is_new = status.send_if_modified(|status| {
            let is_running = match kind {
                TaskKind::Sweep => &mut status.has_sweeper,
                TaskKind::Listen => &mut status.has_listener,
            };
            !std::mem::replace(is_running, true)
        });
        is_new.then(|| Self {
            kind,
            status: Arc::clone(status),
        })
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.status.send_modify(|status| match self.kind {
            TaskKind::Sweep => status.has_sweeper = false,
            TaskKind::Listen => {
                status.has_listener = false;
                status.is_subscribed = false;
            }
        });
    }
}
