//! The wire format of registry errors: [`RegistryErrorExt`].

use agentwire_codec::WireError;

use crate::{RegistryError, error::wire};

/// Conversions between [`RegistryError`] and [`WireError`].
pub trait RegistryErrorExt: Sized {
    /// Returns the form in which a registry server sends this error ([PROTOCOL 12]).
    ///
    /// [PROTOCOL 12]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    #[must_use]
    fn to_wire_error(&self) -> WireError;

    /// Converts an error that a registry server sent. Unknown errors are returned unchanged, as
    /// [`RegistryError::Remote`].
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
