//! How far a round is, and when it is over.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::{sync::Notify, time::Instant};

/// How long a round is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Extent {
    Calls(u64),
    Until(Instant),
}

/// The calls of all callers. The counters are relaxed, because they guard no other data.
#[derive(Debug)]
pub(crate) struct Progress {
    extent: Extent,
    calls: AtomicU64,
    is_over: AtomicBool,
    has_changed: Notify,
}

impl Progress {
    pub(crate) fn new(extent: Extent) -> Self {
        Self {
            extent,
            calls: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            has_changed: Notify::new(),
        }
    }

    /// Returns whether a caller that has made `own` calls makes another one, and counts that call.
    pub(crate) fn continues(&self, own: u64) -> bool {
        let calls = self.calls.fetch_add(1, Relaxed);
        if calls % STEP == 0 {
            self.has_changed.notify_one();
        }
        let is_within = match self.extent {
            Extent::Calls(most) => calls < most,
            Extent::Until(end) => Instant::now() < end,
        };
        is_within || own < MIN_CALLS
    }

    /// Waits for a number of calls. Returns false if the round is over.
    pub(crate) async fn reach(&self, calls: u64) -> bool {
        while !self.is_over.load(Relaxed) {
            if self.calls.load(Relaxed) >= calls {
                return true;
            }
            self.has_changed.notified().await;
        }
        false
    }

    /// Records that all callers have ended.
    pub(crate) fn finish(&self) {
        self.is_over.store(true, Relaxed);
        self.has_changed.notify_one();
    }
}

/// How many calls each caller makes at least.
const MIN_CALLS: u64 = 30;

/// After how many calls the failures are told.
const STEP: u64 = 32;
