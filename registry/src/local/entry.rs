use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::moment::Moment;
use crate::Registration;

/// A registration and its lease. A heartbeat changes it in place, so that it needs no more than a look at the
/// table.
#[derive(Debug)]
pub(super) struct Entry {
    /// Tells entries apart that are due at the same moment.
    pub(super) id: u64,
    pub(super) registration: Arc<Registration>,
    /// About how many bytes it takes.
    pub(super) weight: usize,
    lease: Duration,
    since: Instant,
    /// When it was last heard of, and when the queue of expiries looks at it next: in microseconds after `since`.
    heard: AtomicU64,
    queued: AtomicU64,
}

impl Entry {
    pub(super) fn new(
        id: u64,
        registration: Arc<Registration>,
        weight: usize,
        lease: Duration,
        since: Instant,
    ) -> Self {
        Self {
            id,
            registration,
            weight,
            lease,
            since,
            heard: AtomicU64::new(0),
            queued: AtomicU64::new(0),
        }
    }

    pub(super) fn heartbeat(&self, now: Moment) {
        // Two heartbeats may overtake each other; the later one counts. Nothing else hangs on these numbers.
        self.heard.fetch_max(self.micros(now.at), Ordering::Relaxed);
        self.registration.record_heartbeat(now.wall);
    }

    pub(super) fn is_live(&self, now: Instant) -> bool {
        now < self.expires_at()
    }

    /// When the lease is over, as things stand.
    pub(super) fn expires_at(&self) -> Instant {
        self.since + Duration::from_micros(self.heard.load(Ordering::Relaxed)) + self.lease
    }

    /// When the queue looks at it next.
    pub(super) fn queued_at(&self) -> Instant {
        self.since + Duration::from_micros(self.queued.load(Ordering::Relaxed))
    }

    /// Notes where in the queue it stands. For the queue, of which there is one.
    pub(super) fn queue_at(&self, at: Instant) -> Instant {
        // Rounded up: one that is looked at while it is alive would be due again at once, and again.
        let nanos = at.saturating_duration_since(self.since).as_nanos();
        let micros = u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX);
        self.queued.store(micros, Ordering::Relaxed);
        self.queued_at()
    }

    fn micros(&self, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.since).as_micros();
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}
