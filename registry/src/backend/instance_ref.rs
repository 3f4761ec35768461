//! [`InstanceRefExt`]: what a backend needs of a reference.

use crate::{InstanceRef, owner::OwnerKey};

/// What a backend needs of an [`InstanceRef`].
pub trait InstanceRefExt {
    /// Returns the owner key, for requests to another registry.
    #[must_use]
    fn owner(&self) -> Option<&str>;
}

impl InstanceRefExt for InstanceRef {
    fn owner(&self) -> Option<&str> {
        self.owner.as_ref().map(OwnerKey::as_str)
    }
}
