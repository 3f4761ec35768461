//! The scopes of watches: [`WatchScope`].

use crate::{Registration, RegistryError, check_name};

/// The registrations whose changes a watch reports.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WatchScope {
    /// All registrations.
    #[default]
    All,
    /// All current and future instances of one name.
    Name(String),
}

impl WatchScope {
    /// Creates a scope that contains all instances of a name.
    #[must_use]
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// Returns whether the scope contains a registration.
    #[must_use]
    pub fn contains(&self, registration: &Registration) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => *name == registration.name,
        }
    }

    /// Checks the name in the scope, if there is one.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidName`] if the name is invalid.
    pub fn check(&self) -> Result<(), RegistryError> {
        match self {
            Self::All => Ok(()),
            Self::Name(name) => check_name(name),
        }
    }
}
