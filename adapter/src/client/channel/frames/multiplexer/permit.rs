//! The right to have a call in flight on one shared connection.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::client::permits::Permit;

/// The number of calls in flight on one connection.
///
/// Relaxed: where the number matters, it is changed and compared under the lock of the multiplexer,
/// except that a call ends without the lock. A choice may then count one call too many, which is
/// harmless.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlightCount(Arc<AtomicUsize>);

/// Counts a call on a connection until it is dropped, and holds its permit.
#[derive(Debug)]
pub(super) struct InFlightPermit {
    count: InFlightCount,
    _permit: Permit,
}

impl InFlightCount {
    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    /// Counts another call.
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
