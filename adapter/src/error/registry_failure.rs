use std::{fmt, ops::Deref, sync::Arc};

use agentwire_registry::RegistryError;

/// A [`RegistryError`] that several calls may share, and which behaves like one.
///
/// It is no error itself, so that whoever walks the sources of an [`Error`](crate::Error) comes upon the
/// [`RegistryError`]; an [`Arc`] in its place would be what they find.
#[derive(Debug, Clone)]
pub struct RegistryFailure(Arc<RegistryError>);

impl Deref for RegistryFailure {
    type Target = RegistryError;

    fn deref(&self) -> &RegistryError {
        &self.0
    }
}

impl fmt::Display for RegistryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<RegistryError> for RegistryFailure {
    fn from(error: RegistryError) -> Self {
        Self(Arc::new(error))
    }
}

impl From<Arc<RegistryError>> for RegistryFailure {
    fn from(error: Arc<RegistryError>) -> Self {
        Self(error)
    }
}
