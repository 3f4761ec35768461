//! Registrations of agents: [`Registration`].

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

/// The registration of an agent at an endpoint.
///
/// The name and the endpoint identify a registration. Registrations with the same name and
/// different endpoints are instances of the same agent. A registration with the same name and
/// endpoint replaces the earlier registration.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; pub extern crate agentwire_registry as registry; }
/// use agentwire::{map, registry::Registration};
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
    /// The endpoint at which the agent can be called.
    pub endpoint: Endpoint,
    /// The instance id, which distinguishes instances with the same name and endpoint. By default,
    /// the id is a random UUID. If the id is empty, the registration has no instance id.
    pub instance: String,
    /// The agent's version, if it has one.
    pub version: Option<Version>,
    /// The capabilities of the agent.
    pub capabilities: Map,
    /// Further information about the agent.
    pub metadata: Map,
    /// The machine of the endpoint, if the endpoint is a Unix socket or a loopback address. `None`
    /// for other endpoints, or if the machine is unknown.
    ///
    /// The text is opaque: see [`is_callable_here`](Self::is_callable_here).
    pub machine: Option<String>,
    /// The time of the registration, according to the clock of the registry.
    pub registered_at: Timestamp,
    pub(crate) last_heartbeat: LastHeartbeat,
    /// The secret of the owner. Registries never return this secret.
    pub(crate) owner: Option<OwnerKey>,
    /// The text that was passed to `with_version`, if it is not a valid version.
    pub(crate) invalid_version: Option<Box<str>>,
}

impl Registration {
    /// Creates a registration without a version, capabilities or metadata.
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

    /// Sets the instance id. The default is a random UUID.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = instance.into();
        self
    }

    /// Sets the owner key, a secret that is required to renew, remove or replace the registration.
    /// By default, there is no key. A [`RegistrationHandle`](crate::RegistrationHandle) generates a
    /// random key.
    ///
    /// If a process restarts with the same key, it can immediately replace its earlier
    /// registration. Without the key, the process must wait until half of the lease has passed
    /// without a heartbeat. If the text is empty, there is no key, and the public instance id is
    /// used instead.
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

    /// Sets the version, as a [`Version`] or as text such as `"1.2.0"`. By default, there is no
    /// version.
    ///
    /// If the text is not a semantic version, registering fails with
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

    /// Sets the capabilities. By default, there are none.
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

    /// Returns the time of the last heartbeat, according to the clock of the registry.
    ///
    /// If the registry is in this process, each heartbeat updates the time. If the registration was
    /// received over a connection, the time does not change.
    #[must_use]
    pub fn last_heartbeat(&self) -> Timestamp {
        self.last_heartbeat.time()
    }

    /// Returns `false` if the endpoint is a Unix socket or a loopback address on another machine.
    ///
    /// A call to such an endpoint would fail or reach a different agent.
    #[must_use]
    pub fn is_callable_here(&self) -> bool {
        match (&self.machine, this_machine()) {
            (Some(there), Some(here)) => machine::is_same(there, here, Reach::of(&self.endpoint)),
            _ => true,
        }
    }

    /// Returns whether two registrations are equal, apart from their times and owner keys.
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

/// The `Debug` output omits the capabilities and metadata, which may be long.
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
