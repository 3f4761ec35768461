use std::sync::Arc;

use agentwire_transport::internal::Mutex;
use tokio::{sync::watch, task::AbortHandle};

use super::status::Status;

/// The tasks of one registry, which end with it, or with the runtime that happened to start them.
#[derive(Debug)]
pub(super) struct Tasks {
    status: Arc<watch::Sender<Status>>,
    /// One for each kind at most; those that have ended have been replaced.
    running: Mutex<[Option<AbortHandle>; 2]>,
}

/// What a task does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Sweep,
    /// From the first watch on.
    Listen,
}

impl Tasks {
    pub(super) fn new(status: Arc<watch::Sender<Status>>) -> Self {
        Self {
            status,
            running: Mutex::default(),
        }
    }

    /// Begins with a task, unless there is one that does it.
    pub(super) fn run<F>(&self, kind: Kind, work: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        if !begin(&self.status, kind) {
            return;
        }
        let begun = Begun {
            kind,
            status: Arc::clone(&self.status),
        };
        let work = work();
        let task = tokio::spawn(async move {
            let _begun = begun;
            work.await;
        });
        self.locked()[kind as usize] = Some(task.abort_handle());
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, [Option<AbortHandle>; 2]> {
        self.running.lock()
    }
}

/// Puts down that there is such a task. False if there was one.
fn begin(status: &watch::Sender<Status>, kind: Kind) -> bool {
    status.send_if_modified(|status| {
        let runs = match kind {
            Kind::Sweep => &mut status.sweeps,
            Kind::Listen => &mut status.listens,
        };
        !std::mem::replace(runs, true)
    })
}

/// Puts down that a task has ended, however it did: a watch in another runtime begins with the next.
struct Begun {
    kind: Kind,
    status: Arc<watch::Sender<Status>>,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.status.send_modify(|status| match self.kind {
            Kind::Sweep => status.sweeps = false,
            Kind::Listen => {
                status.listens = false;
                status.is_subscribed = false;
            }
        });
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in self.locked().iter().flatten() {
            task.abort();
        }
    }
}
