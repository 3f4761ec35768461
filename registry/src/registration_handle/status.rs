//! The status of a [`RegistrationHandle`](super::RegistrationHandle).

use tokio::time::Instant;

use crate::RegistryError;

/// The status that the background task of a registration reports.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// The time at which the lease expires if it is not renewed.
    pub(super) held_until: Option<Instant>,
    /// The error of the last operation, if it failed.
    pub(super) error: Option<RegistryError>,
    /// Whether the task has ended.
    pub(super) ended: bool,
}

impl Status {
    pub(super) fn is_registered(&self) -> bool {
        !self.ended && self.held_until.is_some_and(|until| Instant::now() < until)
    }
}
