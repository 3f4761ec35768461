//! [`Outage`]: for how long Redis has refused writes.

use std::time::{Duration, Instant};

use agentwire_transport::internal::Mutex;

/// The time since the last successful sweep, if the sweeps are failing.
#[derive(Debug)]
pub(super) struct Outage(Mutex<OutageState>);

#[derive(Debug, Clone, Copy)]
struct OutageState {
    last_sweep: Instant,
    is_failing: bool,
}

impl Outage {
    pub(super) fn new() -> Self {
        Self(Mutex::new(OutageState {
            last_sweep: Instant::now(),
            is_failing: false,
        }))
    }

    /// Records a failed sweep.
    pub(super) fn begin(&self) {
        self.0.lock().is_failing = true;
    }

    /// Records a successful sweep that began at `started`.
    pub(super) fn end(&self, started: Instant) {
        *self.0.lock() = OutageState {
            last_sweep: started,
            is_failing: false,
        };
    }

    /// Returns zero if the last sweep was successful.
    pub(super) fn duration(&self) -> Duration {
        let state = *self.0.lock();
        if state.is_failing {
            state.last_sweep.elapsed()
        } else {
            Duration::ZERO
        }
    }
}
