use tokio::time::Instant;

use crate::RegistryError;

/// How things stand, for those who want to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// Until when the registry holds the registration, if nothing more comes of it.
    pub(super) held_until: Option<Instant>,
    /// What the last step failed with, if it did.
    pub(super) error: Option<RegistryError>,
    /// Nothing more is done.
    pub(super) ended: bool,
}

impl Status {
    pub(super) fn is_registered(&self) -> bool {
        !self.ended && self.held_until.is_some_and(|until| Instant::now() < until)
    }
}
