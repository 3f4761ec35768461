//! Who may change an entry.

use std::time::Duration;

use tokio::time::Instant;

use super::entry::Entry;
use crate::{InstanceRef, RegistryError};

/// Checks that a reference proves ownership of an entry.
///
/// # Errors
///
/// Returns [`RegistryError::Owned`] if the entry belongs to another instance.
pub(super) fn check_claim(
    entry: &Entry,
    which: &InstanceRef,
    now: Instant,
) -> Result<(), RegistryError> {
    if which.has_authority || which.claim().covers(entry.claim()) {
        return Ok(());
    }
    Err(owned(entry, entry.protected_for(now)))
}

/// Returns the error of a request that does not prove ownership of an entry.
pub(super) fn owned(entry: &Entry, retry_after: Duration) -> RegistryError {
    RegistryError::Owned {
        name: entry.registration.name.clone(),
        endpoint: entry.registration.endpoint.clone(),
        retry_after,
    }
}

/// Returns `false` if the reference contains a different instance id.
pub(super) fn matches_instance(entry: &Entry, which: &InstanceRef) -> bool {
    let instance = which.instance.as_ref();
    instance.is_none_or(|instance| *instance == entry.registration.instance)
}
