//! References to registrations: [`InstanceRef`].

use std::sync::Arc;

use agentwire_transport::Endpoint;

use crate::{
    Registration,
    owner::{Claim, OwnerKey},
};

/// A reference to a registration.
///
/// The name is sufficient if there is only one instance. The name and the instance id are
/// sufficient if the id is unique. With an instance id, a late request of an instance cannot affect
/// its successor at the same endpoint.
///
/// A request to renew or remove a registration must also prove its ownership. If the registration
/// has an [owner key](Self::with_owner), the reference must contain the key. If the registration
/// has no key, the reference must contain the instance id. A registration with neither a key nor an
/// instance id has no owner, so any process can change it.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; pub extern crate agentwire_transport as transport; }
/// use agentwire::registry::InstanceRef;
///
/// let which = InstanceRef::new("weather").with_endpoint("tcp://10.0.0.7:8080".parse()?);
/// assert_eq!(which.name, "weather");
/// # Ok::<(), agentwire::transport::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct InstanceRef {
    /// The name.
    pub name: String,
    /// The endpoint, or `None` to refer to the only instance.
    pub endpoint: Option<Endpoint>,
    /// The instance id, or `None` to accept any instance id.
    pub instance: Option<String>,
    pub(crate) owner: Option<OwnerKey>,
    /// Whether the request may remove the registration of another owner.
    pub(crate) has_authority: bool,
}

impl InstanceRef {
    /// Creates a reference to the only instance of a name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoint: None,
            instance: None,
            owner: None,
            has_authority: false,
        }
    }

    /// Sets the endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Sets the instance id. A reference with an instance id does not match a successor of that
    /// instance.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets the owner key, which is the text that was passed to [`Registration::with_owner`].
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
