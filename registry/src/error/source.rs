//! The shared source of a [`RegistryError`](crate::RegistryError): [`ErrorSource`].

use std::{error::Error, fmt, ops::Deref, sync::Arc};

/// The source of a [`RegistryError`](crate::RegistryError), which clones of the error share. The
/// source can be any error.
///
/// `ErrorSource` dereferences to the error, so `source.downcast_ref::<io::Error>()` works.
/// `ErrorSource` itself does not implement [`Error`]. [`Error::source`] returns the error without
/// this wrapper, so code that iterates over a chain of sources can also downcast the error.
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
