//! [`Entry`]: a registration and its lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::now::Now;
use crate::{
    Registration,
    backend::RegistrationExt,
    owner::{Claim, OwnerKey},
};

/// A registration and its lease. A heartbeat updates it in place, under a read lock of the table.
///
/// The two times are atomics because heartbeats and lookups share that lock. Nothing else is
/// published through them, so relaxed ordering is enough.
#[derive(Debug)]
pub(super) struct Entry {
    /// Distinguishes entries that are due at the same instant.
    pub(super) id: u64,
    pub(super) registration: Arc<Registration>,
    /// Kept apart from the registration, which everyone may read.
    owner: Option<OwnerKey>,
    /// About how many bytes the entry takes.
    pub(super) size: usize,
    lease: Duration,
    registered_at: Instant,
    /// When the last heartbeat arrived, in microseconds after `registered_at`.
    last_heartbeat: AtomicU64,
    /// When the expiry queue checks the entry next, in microseconds after `registered_at`.
    queued_at: AtomicU64,
}

impl Entry {
    pub(super) fn new(
        id: u64,
        registration: Arc<Registration>,
        owner: Option<OwnerKey>,
        size: usize,
        lease: Duration,
        registered_at: Instant,
    ) -> Self {
        Self {
            id,
            registration,
            owner,
            size,
            lease,
            registered_at,
            last_heartbeat: AtomicU64::new(0),
            queued_at: AtomicU64::new(0),
        }
    }

    pub(super) fn heartbeat(&self, now: Now) {
        // Heartbeats may overtake each other; the latest time wins.
        let micros = now.instant.saturating_duration_since(self.registered_at);
        let micros = u64::try_from(micros.as_micros()).unwrap_or(u64::MAX);
        self.last_heartbeat.fetch_max(micros, Ordering::Relaxed);
        self.registration.record_heartbeat(now.wall);
    }

    pub(super) fn is_live(&self, now: Instant) -> bool {
        now < self.expires_at()
    }

    /// Returns what a request must match to change the entry.
    pub(super) fn claim(&self) -> Claim<'_> {
        Claim {
            owner: self.owner.as_ref(),
            instance: &self.registration.instance,
        }
    }

    /// Returns true if the entry was registered with the same key.
    pub(super) fn has_owner(&self, owner: Option<&OwnerKey>) -> bool {
        self.owner.as_ref() == owner
    }

    /// Returns how long the entry is protected from replacement by another instance, unless another
    /// heartbeat arrives. An owner that has not sent a heartbeat for half of its lease is likely
    /// gone, and its successor must not wait for the other half.
    pub(super) fn protected_for(&self, now: Instant) -> Duration {
        (self.expires_at() - self.lease / 2).saturating_duration_since(now)
    }

    /// Returns when the lease expires unless another heartbeat arrives.
    pub(super) fn expires_at(&self) -> Instant {
        let last_heartbeat = Duration::from_micros(self.last_heartbeat.load(Ordering::Relaxed));
        self.registered_at + last_heartbeat + self.lease
    }

    /// Returns when the expiry queue checks the entry next.
    pub(super) fn queued_at(&self) -> Instant {
        self.registered_at + Duration::from_micros(self.queued_at.load(Ordering::Relaxed))
    }

    /// Records when the expiry queue checks the entry next, and returns that time as recorded.
    pub(super) fn set_queued_at(&self, at: Instant) -> Instant {
        // Rounded up: an entry that is checked while it is still alive would be due again at once.
        let nanos = at.saturating_duration_since(self.registered_at).as_nanos();
        let micros = u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX);
        self.queued_at.store(micros, Ordering::Relaxed);
        self.queued_at()
    }
}
