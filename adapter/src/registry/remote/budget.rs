//! Limits of the lists and snapshots that a client accepts.

use std::{sync::Arc, time::Duration};

use agentwire_registry::{Registration, RegistryError, backend::RegistrationExt};
use agentwire_transport::Endpoint;

/// The limits of each list and each snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListLimits {
    /// The maximum memory of the registrations, in bytes.
    pub(super) max_size: usize,
    /// The maximum time until the last part has arrived.
    pub(super) timeout: Duration,
}

/// The memory that the rest of a list may take.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    left: usize,
}

impl Budget {
    pub(super) fn new(max: usize) -> Self {
        Self { max, left: max }
    }

    /// Spends the memory of one part of a list.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::AnswerTooLarge`] if the list exceeds the budget.
    pub(super) fn spend(
        &mut self,
        part: &[Arc<Registration>],
        registry: &Endpoint,
    ) -> Result<(), RegistryError> {
        let size = part.iter().map(|one| one.memory_size()).sum();
        let Some(left) = self.left.checked_sub(size) else {
            return Err(RegistryError::AnswerTooLarge {
                registry: registry.to_string(),
                max: self.max,
            });
        };
        self.left = left;
        Ok(())
    }
}
