//! [`ErrorSource`]: the shared cause of a [`RegistryError`](crate::RegistryError).

use std::{error::Error, fmt, ops::Deref, sync::Arc};

/// The cause of a [`RegistryError`](crate::RegistryError): any error, shared between clones.
///
/// Dereferences to the error itself, so `source.downcast_ref::<io::Error>()` works. It is not an
/// [`Error`]: [`Error::source`] returns the cause and not this wrapper, so a walk along the chain
/// can downcast it, too.
#[derive(Clone)]
pub struct ErrorSource(Arc<dyn Error + Send + Sync>);

impl Deref for ErrorSource {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for ErrorSource {
    fn from(error: E) -> Self {
        Self(error.into().into())
    }
}

impl fmt::Display for ErrorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ErrorSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::RegistryError;

    #[test]
    fn the_cause_of_a_clone_can_be_downcast() {
        let error = RegistryError::Unavailable {
            registry: "tcp://host:80".to_owned(),
            source: io::Error::from(io::ErrorKind::ConnectionRefused).into(),
        };
        let source = error.source().expect("a source");
        assert!(source.downcast_ref::<io::Error>().is_some());
        let RegistryError::Unavailable { source, .. } = error.clone() else {
            panic!("{error:?}");
        };
        let cause = source.downcast_ref::<io::Error>().expect("an I/O error");
        assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
    }
}
