//! One known instance of an agent: whether it is confirmed, and its health.

use std::sync::Arc;

use agentwire_registry::{Lease, Registration};
use agentwire_transport::internal::Backoff;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{health::Health, instance::Instance};

/// A known instance.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) instance: Arc<Instance>,
    /// The registered instance id, which distinguishes a process from its successor at the same
    /// endpoint.
    pub(super) registered_as: String,
    pub(super) health: Health,
    /// The time at which the registry stopped listing the instance, or `None` if the instance is
    /// confirmed.
    pub(super) unlisted_since: Option<Instant>,
    /// The task that probes the instance while it is ejected.
    pub(super) probe: Option<AbortOnDropHandle<()>>,
}

impl Entry {
    pub(super) fn new(id: u64, registration: &Registration, backoff: &Backoff) -> Self {
        Self {
            instance: Arc::new(Instance::new(id, registration.endpoint.clone())),
            registered_as: registration.instance.clone(),
            health: Health::new(backoff.clone()),
            unlisted_since: None,
            probe: None,
        }
    }

    /// Marks the instance as unconfirmed from now on, unless it is already.
    pub(super) fn mark_unlisted(&mut self, now: Instant) {
        self.unlisted_since.get_or_insert(now);
        // Each answer is reported, and extends the time for which the instance is kept.
        self.health.expect_answer();
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.unlisted_since.is_none()
    }

    /// Returns whether the instance has been unconfirmed for at least one default lease.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.unlisted_since
            .is_some_and(|since| since + Lease::DEFAULT_TIMEOUT <= now)
    }
}
