//! [`WatchScope`]: what a watch covers.

use crate::{Registration, RegistryError, check_name};

/// The part of a registry that a watch covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WatchScope {
    /// All registrations.
    #[default]
    All,
    /// All instances of one name, including future ones.
    Name(String),
}

impl WatchScope {
    /// Covers all instances of one name.
    #[must_use]
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// Returns true if the scope covers a registration.
    #[must_use]
    pub fn contains(&self, registration: &Registration) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => *name == registration.name,
        }
    }

    /// Checks the name.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidName`].
    pub fn check(&self) -> Result<(), RegistryError> {
        match self {
            Self::All => Ok(()),
            Self::Name(name) => check_name(name),
        }
    }
}
