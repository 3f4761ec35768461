//! [`Registration`]: one agent at one endpoint.

pub(crate) mod check;
mod heartbeat;
mod name;
pub(crate) mod order;
mod reach;
mod size;
pub(crate) mod wire;

use std::fmt;

use agentwire_codec::{Map, RequestId, Timestamp, Value};
use agentwire_transport::Endpoint;
use semver::Version;

use self::heartbeat::LastHeartbeat;
pub use self::name::check_name;
pub(crate) use self::{order::sort, reach::Reach};
use crate::{
    TextOr,
    machine::{self, this_machine},
    owner::{Claim, OwnerKey},
};

/// What a registry stores about one agent at one endpoint.
///
/// The key is the name together with the endpoint. Registrations of one name at different endpoints
/// are instances of the same agent; a registration with the same name and endpoint replaces the
/// earlier one.
///
/// ```
/// use agentwire_codec::map;
/// use agentwire_registry::Registration;
///
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)
///     .with_version("2.1.0")
///     .with_capabilities(map! {"languages": ["en", "ja"]})
///     .with_metadata("zone", "b");
/// assert_eq!(weather.capabilities["languages"][0].as_str(), Some("en"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Registration {
    /// The name that callers look up.
    pub name: String,
    /// Where the agent can be called.
    pub endpoint: Endpoint,
    /// Distinguishes this instance from earlier and later ones with the same name and endpoint. The
    /// agent chooses it: a fresh UUID by default, or empty for none.
    pub instance: String,
    /// The agent's version, if it has one.
    pub version: Option<Version>,
    /// What the agent can do.
    pub capabilities: Map,
    /// Anything else worth knowing about the agent.
    pub metadata: Map,
    /// The machine from which the endpoint can be called, if it means something else on other
    /// machines: that of a Unix socket or of a loopback address. `None` for other endpoints, or if
    /// the machine is unknown.
    ///
    /// The text is opaque; see [`is_callable_here`](Self::is_callable_here).
    pub machine: Option<String>,
    /// When the agent registered, by the registry's clock.
    pub registered_at: Timestamp,
    pub(crate) last_heartbeat: LastHeartbeat,
    /// The secret of the owner. Registries never return it.
    pub(crate) owner: Option<OwnerKey>,
    /// The text given to `with_version`, if it was not a version.
    pub(crate) invalid_version: Option<Box<str>>,
}

impl Registration {
    /// Creates a registration without version, capabilities and metadata.
    #[must_use]
    pub fn new(name: impl Into<String>, endpoint: Endpoint) -> Self {
        let now = Timestamp::now();
        let is_local = Reach::of(&endpoint).is_local();
        let machine = this_machine().filter(|_| is_local).map(str::to_owned);
        Self {
            name: name.into(),
            endpoint,
            instance: RequestId::random().to_string(),
            version: None,
            capabilities: Map::new(),
            metadata: Map::new(),
            machine,
            registered_at: now,
            last_heartbeat: LastHeartbeat::new(now),
            owner: None,
            invalid_version: None,
        }
    }

    /// Sets the instance id. Default: a fresh UUID.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = instance.into();
        self
    }

    /// Sets the owner key: a secret that a heartbeat, an unregistration and a replacement must
    /// repeat. Default: none, but a [`RegistrationHandle`](crate::RegistrationHandle) chooses a
    /// random key.
    ///
    /// A process that is restarted with the same key replaces its earlier registration at once.
    /// Without the key, it has to wait until the lease of that registration is half over. Empty
    /// text means no key: the instance id, which is public, then takes its place.
    #[must_use]
    pub fn with_owner(mut self, key: impl Into<String>) -> Self {
        self.owner = OwnerKey::new(key);
        self
    }

    pub(crate) fn claim(&self) -> Claim<'_> {
        Claim {
            owner: self.owner.as_ref(),
            instance: &self.instance,
        }
    }

    /// Sets the version, as a [`Version`] or as text such as `"1.2.0"`. Default: none.
    ///
    /// Text that is not a semantic version fails the registration with
    /// [`RegistryError::InvalidRegistration`](crate::RegistryError::InvalidRegistration).
    #[must_use]
    pub fn with_version(mut self, version: impl Into<TextOr<Version>>) -> Self {
        match version.into().into_result() {
            Ok(version) => {
                self.version = Some(version);
                self.invalid_version = None;
            }
            Err(text) => {
                self.version = None;
                self.invalid_version = Some(text.into());
            }
        }
        self
    }

    /// Sets the capabilities. Default: none.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Map) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Adds a metadata entry.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// Returns the time of the last heartbeat, by the registry's clock.
    ///
    /// A registration from a registry in this process is updated by each heartbeat. One that was
    /// received over a connection keeps the time known then.
    #[must_use]
    pub fn last_heartbeat(&self) -> Timestamp {
        self.last_heartbeat.time()
    }

    /// Returns false if the endpoint is known to be on another machine and means something else
    /// here: a Unix socket, or a loopback address.
    ///
    /// Calling such an endpoint would reach nothing, or another agent.
    #[must_use]
    pub fn is_callable_here(&self) -> bool {
        match (&self.machine, this_machine()) {
            (Some(there), Some(here)) => machine::is_same(there, here, Reach::of(&self.endpoint)),
            _ => true,
        }
    }

    /// Returns true if both registrations describe the same instance in the same way. Times are
    /// not compared.
    #[must_use]
    pub fn is_same_offer(&self, other: &Self) -> bool {
        self.name == other.name
            && self.endpoint == other.endpoint
            && self.instance == other.instance
            && self.version == other.version
            && self.invalid_version == other.invalid_version
            && self.capabilities == other.capabilities
            && self.metadata == other.metadata
            && self.machine == other.machine
    }
}

/// Omits capabilities and metadata, which may be long.
impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("instance", &self.instance)
            .field("version", &self.version)
            .field("last_heartbeat", &self.last_heartbeat)
            .finish_non_exhaustive()
    }
}
