//! Permits for a bounded resource.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::stats::Counters;

/// A semaphore that counts its waiters. Permits are granted in the order of arrival.
#[derive(Debug)]
pub(super) struct Permits {
    semaphore: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// Reports the time of a wait when it is dropped.
struct ObservedWait<'a> {
    counters: &'a Counters,
    start: Instant,
}

/// The right to use one unit of the resource. Dropping the permit releases the unit.
pub(super) type Permit = OwnedSemaphorePermit;

impl Permits {
    pub(super) fn new(count: usize, counters: Arc<Counters>) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            counters,
        }
    }

    /// Acquires a permit without waiting. Returns `None` if no permit is free.
    pub(super) fn try_acquire(&self) -> Option<Permit> {
        Arc::clone(&self.semaphore).try_acquire_owned().ok()
    }

    /// Waits for a permit, and counts the caller as waiting in the meantime. Returns `None` if the
    /// semaphore is closed.
    pub(super) async fn acquire(&self) -> Option<Permit> {
        let _waiting = self.counters.waiting();
        let is_observed = self.counters.observers().get().is_some();
        let _observed = is_observed.then(|| ObservedWait::start(&self.counters));
        Arc::clone(&self.semaphore).acquire_owned().await.ok()
    }

    /// Returns the number of free permits.
    pub(super) fn available(&self) -> usize {
        self.semaphore.available_permits()
    }

    /// Closes the semaphore. All waiters return, and no more permits are granted.
    pub(super) fn close(&self) {
        self.semaphore.close();
    }
}

impl<'a> ObservedWait<'a> {
    fn start(counters: &'a Counters) -> Self {
        Self {
            counters,
            start: Instant::now(),
        }
    }
}

impl Drop for ObservedWait<'_> {
    fn drop(&mut self) {
        let wait = self.start.elapsed();
        let observers = self.counters.observers();
        observers.report(|observer| observer.call_queued(wait));
    }
}
