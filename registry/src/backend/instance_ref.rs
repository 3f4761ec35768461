//! Methods of instance references for backends: [`InstanceRefExt`].

use crate::{InstanceRef, owner::OwnerKey};

/// Methods of an [`InstanceRef`] for backends.
pub trait InstanceRefExt {
    /// Returns the owner key. Backends send the key in requests to other registries.
    #[must_use]
    fn owner(&self) -> Option<&str>;
}

impl InstanceRefExt for InstanceRef {
    fn owner(&self) -> Option<&str> {
        self.owner.as_ref().map(OwnerKey::as_str)
    }
}
