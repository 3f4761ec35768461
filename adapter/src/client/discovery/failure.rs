use std::{error::Error as StdError, fmt, sync::Arc};

use agentwire_registry::RegistryError;

/// One error for each of those who waited for the same answer.
pub(in crate::client) fn error_for_all(error: Arc<RegistryError>) -> RegistryError {
    let error = match Arc::try_unwrap(error) {
        Ok(last) => return last,
        Err(shared) => shared,
    };
    match &*error {
        RegistryError::NoAnswer { limit } => RegistryError::NoAnswer { limit: *limit },
        RegistryError::NotARegistry { registry, error } => RegistryError::NotARegistry {
            registry: registry.clone(),
            error: error.clone(),
        },
        RegistryError::Remote(error) => RegistryError::Remote(error.clone()),
        RegistryError::InvalidAnswer { registry, .. } => RegistryError::InvalidAnswer {
            registry: registry.clone(),
            source: Box::new(Cause(error)),
        },
        RegistryError::Unavailable { registry, .. } => RegistryError::Unavailable {
            registry: registry.clone(),
            source: Box::new(Cause(error)),
        },
        // A lookup fails with no other.
        other => RegistryError::Unavailable {
            registry: "the client's registry".to_owned(),
            source: other.to_string().into(),
        },
    }
}

/// What caused an error that several have.
#[derive(Debug)]
struct Cause(Arc<RegistryError>);

impl Cause {
    fn get(&self) -> &dyn StdError {
        self.0.source().unwrap_or(&self.0)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.get(), f)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().and_then(StdError::source)
    }
}
