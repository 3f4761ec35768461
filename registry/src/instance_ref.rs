use std::sync::Arc;

use agentwire_transport::Endpoint;

use crate::Registration;

/// Says which registration is meant.
///
/// The name alone will do as long as there is one instance of it, and the name and the instance id as long as no two have
/// that id. The id keeps one that is late from speaking for its successor at the same endpoint.
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
    /// The endpoint, unless the only one is meant.
    pub endpoint: Option<Endpoint>,
    /// The instance id, unless any will do.
    pub instance: Option<String>,
}

impl InstanceRef {
    /// The only instance of that name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            endpoint: None,
            instance: None,
        }
    }

    /// The one at that endpoint.
    #[must_use]
    pub fn with_endpoint(mut self, endpoint: Endpoint) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// That very one, and not whoever took its place.
    #[must_use]
    pub fn instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }
}

impl From<&Registration> for InstanceRef {
    fn from(registration: &Registration) -> Self {
        let which = Self::new(&*registration.name).with_endpoint(registration.endpoint.clone());
        match &*registration.instance {
            "" => which,
            instance => which.instance(instance),
        }
    }
}

impl From<&Arc<Registration>> for InstanceRef {
    fn from(registration: &Arc<Registration>) -> Self {
        Self::from(&**registration)
    }
}
