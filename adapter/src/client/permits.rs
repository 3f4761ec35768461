//! Permits for a bounded resource.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::stats::Counters;

/// A semaphore that counts its waiters and can be closed. Waiters are served in order.
#[derive(Debug)]
pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// The right to use one unit of the resource, until it is dropped.
pub(super) type Permit = OwnedSemaphorePermit;

impl Permits {
    pub(super) fn new(count: usize, counters: Arc<Counters>) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            counters,
        }
    }

    /// Takes a permit if one is free and no caller waits for it.
    pub(super) fn try_acquire(&self) -> Option<Permit> {
        Arc::clone(&self.semaphore).try_acquire_owned().ok()
    }

    /// Waits for a permit, and counts as waiting meanwhile. Returns `None` once closed.
    pub(super) async fn acquire(&self) -> Option<Permit> {
        let _waiting = self.counters.waiting();
        Arc::clone(&self.semaphore).acquire_owned().await.ok()
    }

    /// Grants no more permits.
    pub(super) fn close(&self) {
        self.semaphore.close();
    }
}
