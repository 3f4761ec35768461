//! Methods of queries for backends: [`QueryExt`].

use agentwire_codec::Map;

use crate::{Query, RegistryError, error::FieldError, query::wire};

/// Methods of a [`Query`] for backends.
pub trait QueryExt: Sized {
    /// Checks that the query is well-formed. Implementations of
    /// [`Registry::find`](crate::Registry::find) must call this method first, because a malformed
    /// query matches nothing.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::InvalidQuery`] if a condition is malformed.
    fn check(&self) -> Result<(), RegistryError>;

    /// Returns the required name, if the query requires one.
    #[must_use]
    fn required_name(&self) -> Option<&str>;

    /// Encodes the query for the payload of a `find` request ([PROTOCOL 12]). Unset conditions are
    /// omitted.
    ///
    /// [PROTOCOL 12]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    #[must_use]
    fn to_map(&self) -> Map;

    /// Decodes a query from the payload of a `find` request. A capability is a list of keys, or
    /// text in which dots separate the keys. Unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// Returns a [`FieldError`] if a known field has the wrong type, or if there are more than 32
    /// capabilities or metadata entries.
    fn from_map(map: &Map) -> Result<Self, FieldError>;
}

impl QueryExt for Query {
    fn check(&self) -> Result<(), RegistryError> {
        self.find_problem()
            .map_or(Ok(()), |source| Err(RegistryError::InvalidQuery { source }))
    }

    fn required_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn to_map(&self) -> Map {
        wire::to_map(self)
    }

    fn from_map(map: &Map) -> Result<Self, FieldError> {
        wire::from_map(map)
    }
}
