//! Permits for calls in flight on one shared connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::client::permits::Permit;

/// The number of calls in flight on one connection.
///
/// All accesses are relaxed. The count is compared and incremented only under the lock of the
/// multiplexer. The count is decremented without the lock, so the multiplexer may count a call that
/// has just ended, which is harmless.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlightCount(Arc<AtomicUsize>);

/// A guard that counts a call on a connection and holds the permit of the call.
#[derive(Debug)]
pub(super) struct InFlightPermit {
    count: InFlightCount,
    _permit: Permit,
}

impl InFlightCount {
    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Counts a call until the returned guard is dropped.
    pub(super) fn add(&self, permit: Permit) -> InFlightPermit {
        self.0.fetch_add(1, Relaxed);
        InFlightPermit {
            count: self.clone(),
            _permit: permit,
        }
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        self.count.0.fetch_sub(1, Relaxed);
    }
}
