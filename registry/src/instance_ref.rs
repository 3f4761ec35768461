//! [`InstanceRef`]: which registration an operation is about.

use std::sync::Arc;

use agentwire_transport::Endpoint;

use crate::{
    Registration,
    owner::{Claim, OwnerKey},
};

/// Identifies a registration.
///
/// A name alone is enough while it has a single instance; a name with an instance id is enough
/// while the id is unique. The instance id keeps a late request of a predecessor from affecting its
/// successor at the same endpoint.
///
/// A heartbeat and an unregistration must also prove that the registration is their own, with its
/// [owner key](Self::with_owner) if it has one, and otherwise with its instance id. A registration
/// that has neither belongs to no one in particular.
///
/// ```
/// use agentwire_registry::InstanceRef;
///
/// let which = InstanceRef::new("weather").with_endpoint("tcp://10.0.0.7:8080".parse()?);
/// assert_eq!(which.name, "weather");
/// # Ok::<(), agentwire_transport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InstanceRef {
    /// The name.
    pub name: String,
    /// The endpoint; `None` for the only instance.
    pub endpoint: Option<Endpoint>,
    /// The instance id; `None` for any.
    pub instance: Option<String>,
    pub(crate) owner: Option<OwnerKey>,
}

impl InstanceRef {
    /// Identifies the only instance of a name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoint: None,
            instance: None,
            owner: None,
        }
    }

    /// Requires this endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Requires this instance id, which excludes an instance that replaced the one with this id.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Adds the owner key of the registration: the text that was given to
    /// [`Registration::with_owner`].
    #[must_use]
    pub fn with_owner(mut self, key: impl Into<String>) -> Self {
        self.owner = OwnerKey::new(key);
        self
    }

    pub(crate) fn claim(&self) -> Claim<'_> {
        Claim {
            owner: self.owner.as_ref(),
            instance: self.instance.as_deref().unwrap_or_default(),
        }
    }
}

impl From<&Registration> for InstanceRef {
    fn from(registration: &Registration) -> Self {
        let mut which = Self::new(&*registration.name).with_endpoint(registration.endpoint.clone());
        which.owner.clone_from(&registration.owner);
        match &*registration.instance {
            "" => which,
            instance => which.with_instance(instance),
        }
    }
}

impl From<&Arc<Registration>> for InstanceRef {
    fn from(registration: &Arc<Registration>) -> Self {
        Self::from(&**registration)
    }
}
