use crate::{Registration, RegistryError, check_name};

/// What of a registry is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WatchScope {
    /// Everything.
    #[default]
    All,
    /// All instances of one name, which need not be there yet.
    Name(String),
}

impl WatchScope {
    /// All instances of one name.
    #[must_use]
    pub fn name(name: impl Into<String>) -> Self {
        Self::Name(name.into())
    }

    /// True if that registration is watched.
    #[must_use]
    pub fn contains(&self, registration: &Registration) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => *name == registration.name,
        }
    }

    /// Checks that there can be something to watch.
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
