use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Counters;

/// The turns of calls at something of which there is only so much. Those who wait are served in order.
#[derive(Debug)]
pub(super) struct Turns {
    permits: Arc<Semaphore>,
    counters: Arc<Counters>,
}

/// A turn, until it is dropped.
pub(super) type Turn = OwnedSemaphorePermit;

impl Turns {
    pub(super) fn new(count: usize, counters: Arc<Counters>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS))),
            counters,
        }
    }

    /// A turn, if nobody has to wait for one.
    pub(super) fn try_take(&self) -> Option<Turn> {
        Arc::clone(&self.permits).try_acquire_owned().ok()
    }

    /// Waits for a turn, and is counted meanwhile. `None` if the client is closed.
    pub(super) async fn take(&self) -> Option<Turn> {
        let _waiting = self.counters.waiting();
        Arc::clone(&self.permits).acquire_owned().await.ok()
    }

    /// Gives no more turns.
    pub(super) fn close(&self) {
        self.permits.close();
    }
}
