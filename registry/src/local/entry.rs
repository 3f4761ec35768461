//! The entries of a local registry: [`Entry`].

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

/// A registration and its lease. A heartbeat updates an entry in place, and needs only a read lock
/// on the table.
///
/// The times are atomics because heartbeats and lookups run concurrently. Relaxed accesses are
/// sufficient, because the times guard no other data.
#[derive(Debug)]
pub(super) struct Entry {
    /// A number that distinguishes entries with the same check time.
    pub(super) id: u64,
    pub(super) registration: Arc<Registration>,
    /// The owner key. The key is not stored in the registration, because registrations are public.
    owner: Option<OwnerKey>,
    /// The approximate size of the entry in bytes.
    pub(super) size: usize,
    lease: Duration,
    registered_at: Instant,
    /// The time of the last heartbeat, in microseconds after `registered_at`.
    last_heartbeat: AtomicU64,
    /// The time of the next check by the expiry queue, in microseconds after `registered_at`.
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
        // Concurrent heartbeats may be processed in any order, so the latest time is kept.
        let micros = now.instant.saturating_duration_since(self.registered_at);
        let micros = u64::try_from(micros.as_micros()).unwrap_or(u64::MAX);
        self.last_heartbeat.fetch_max(micros, Ordering::Relaxed);
        self.registration.record_heartbeat(now.wall);
    }

    pub(super) fn is_live(&self, now: Instant) -> bool {
        now < self.expires_at()
    }

    /// Returns the claim of the owner. A request must cover this claim to change the entry.
    pub(super) fn claim(&self) -> Claim<'_> {
        Claim {
            owner: self.owner.as_ref(),
            instance: &self.registration.instance,
        }
    }

    /// Returns whether the entry was registered with the given owner key.
    pub(super) fn has_owner(&self, owner: Option<&OwnerKey>) -> bool {
        self.owner.as_ref() == owner
    }

    /// Returns how long the entry is protected from replacement by another instance. A new
    /// heartbeat extends this time. If an owner has not sent a heartbeat for half of the lease, the
    /// owner has probably crashed. Its successor does not have to wait for the whole lease.
    pub(super) fn protected_for(&self, now: Instant) -> Duration {
        (self.expires_at() - self.lease / 2).saturating_duration_since(now)
    }

    /// Returns the time at which the lease expires if no more heartbeats arrive.
    pub(super) fn expires_at(&self) -> Instant {
        let last_heartbeat = Duration::from_micros(self.last_heartbeat.load(Ordering::Relaxed));
        self.registered_at + last_heartbeat + self.lease
    }

    /// Returns the time of the next check by the expiry queue.
    pub(super) fn queued_at(&self) -> Instant {
        self.registered_at + Duration::from_micros(self.queued_at.load(Ordering::Relaxed))
    }

    /// Sets the time of the next check by the expiry queue. Returns the time as it is stored.
    pub(super) fn set_queued_at(&self, at: Instant) -> Instant {
        // The time is rounded up. If an entry were checked just before its expiry, it would be due
        // again immediately.
        let nanos = at.saturating_duration_since(self.registered_at).as_nanos();
        let micros = u64::try_from(nanos.div_ceil(1000)).unwrap_or(u64::MAX);
        self.queued_at.store(micros, Ordering::Relaxed);
        self.queued_at()
    }
}
