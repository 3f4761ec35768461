//! [`RegistryErrorExt`]: registry errors on the wire.

use agentwire_codec::WireError;

use crate::{RegistryError, error::wire};

/// Converts a [`RegistryError`] to its form on the wire and back.
pub trait RegistryErrorExt: Sized {
    /// Returns the error that a registry server sends (PROTOCOL 12).
    #[must_use]
    fn to_wire_error(&self) -> WireError;

    /// Reads the error that a registry server sent. An error that this version does not know
    /// becomes [`RegistryError::Remote`], unchanged.
    #[must_use]
    fn from_wire_error(error: WireError) -> Self;
}

impl RegistryErrorExt for RegistryError {
    fn to_wire_error(&self) -> WireError {
        wire::encode(self)
    }

    fn from_wire_error(error: WireError) -> Self {
        wire::decode(error)
    }
}
