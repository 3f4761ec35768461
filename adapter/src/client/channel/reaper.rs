//! The task that closes the expired connections of a pool: [`Reaper`].

use std::sync::{Arc, Weak};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

/// A pool with connections that expire.
pub(super) trait Expiring: Send + Sync + 'static {
    /// Closes expired connections. Returns the time at which the next connection may expire, or
    /// `None` if no connection is left that expires. The pool then [stops](Reaper::stop) its
    /// reaper before it releases its lock.
    fn close_expired(&self) -> Option<Instant>;
}

/// The task that closes the expired connections of a pool. The task runs while there are
/// connections that may expire. It does not keep the pool alive.
#[derive(Debug, Default)]
pub(super) struct Reaper(Option<AbortOnDropHandle<()>>);

impl Reaper {
    pub(super) fn is_running(&self) -> bool {
        self.0.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// Starts the task, which first looks for expired connections at `first`. Any previous task is
    /// aborted.
    ///
    /// No task can be spawned outside a runtime. The task is then started when the next connection
    /// becomes idle.
    pub(super) fn start<P: Expiring>(&mut self, pool: &Arc<P>, first: Instant) {
        if let Ok(runtime) = Handle::try_current() {
            let task = runtime.spawn(reap(Arc::downgrade(pool), first));
            self.0 = Some(AbortOnDropHandle::new(task));
        }
    }

    /// Ends the task at its next wait.
    pub(super) fn stop(&mut self) {
        self.0 = None;
    }
}

/// Closes expired connections until the pool is dropped or has no connection that expires.
async fn reap<P: Expiring>(pool: Weak<P>, first: Instant) {
    let mut next = Some(first);
    while let Some(when) = next {
        sleep_until(when).await;
        next = pool.upgrade().and_then(|pool| pool.close_expired());
    }
}
