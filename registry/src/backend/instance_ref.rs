//! Methods of instance references for backends: [`InstanceRefExt`].

use crate::{InstanceRef, owner::OwnerKey};

/// Methods of an [`InstanceRef`] for backends.
pub trait InstanceRefExt {
    /// Returns the owner key. Backends send the key in requests to other registries.
    #[must_use]
    fn owner(&self) -> Option<&str>;

    /// Lets the reference remove a registration of another owner. Only a server that has
    /// authenticated an administrator may call this method. A registry in another process ignores
    /// the authority, because it decides by the credentials of its own client.
    #[must_use]
    fn with_authority(self) -> Self;
}

impl InstanceRefExt for InstanceRef {
    fn owner(&self) -> Option<&str> {
        self.owner.as_ref().map(OwnerKey::as_str)
    }

    fn with_authority(mut self) -> Self {
        self.has_authority = true;
        self
    }
}
