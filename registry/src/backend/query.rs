//! [`QueryExt`]: how a backend evaluates a query.

use agentwire_codec::Map;

use crate::{Query, RegistryError, error::FieldError, query::wire};

/// What a backend needs of a [`Query`], beside [`Query::matches`].
pub trait QueryExt: Sized {
    /// Checks that the query is well-formed. Call it first in
    /// [`Registry::find`](crate::Registry::find): a malformed query matches nothing.
    ///
    /// # Errors
    ///
    /// [`RegistryError::InvalidQuery`].
    fn check(&self) -> Result<(), RegistryError>;

    /// Returns the name that all matches have, if the query requires one.
    #[must_use]
    fn required_name(&self) -> Option<&str>;

    /// Returns the query as it stands in the payload of a `find` (PROTOCOL 12). Conditions that
    /// are not set are left out.
    #[must_use]
    fn to_map(&self) -> Map;

    /// Reads a query from the payload of a `find`. A capability may be a list of keys, or text
    /// with dots between the keys. Unknown fields are ignored.
    ///
    /// # Errors
    ///
    /// A [`FieldError`] if a known field has the wrong type, or if there are more than 32
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
