//! [`Status`]: what a [`RegistrationHandle`](super::RegistrationHandle) reports.

use tokio::time::Instant;

use crate::RegistryError;

/// The state of a registration, as its task reports it.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// When the lease expires, unless it is renewed.
    pub(super) held_until: Option<Instant>,
    /// The error of the last operation, if it failed.
    pub(super) error: Option<RegistryError>,
    /// True once the task has nothing more to do.
    pub(super) ended: bool,
}

impl Status {
    pub(super) fn is_registered(&self) -> bool {
        !self.ended && self.held_until.is_some_and(|until| Instant::now() < until)
    }
}
