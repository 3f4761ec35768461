mod check;
mod heartbeat;

mod name;
mod order;
mod weight;
mod wire;

use std::fmt;

use agentwire_codec::{Map, RequestId, Timestamp, Value};
use agentwire_transport::Endpoint;
use semver::Version;

use self::heartbeat::LastHeartbeat;
pub use self::name::check_name;
pub(crate) use self::order::sort;

/// What a registry keeps about one agent at one endpoint.
///
/// Its key is its name and its endpoint: several agents of one name at different endpoints are instances of
/// it, and a registration with the same name and endpoint takes the place of the one before.
///
/// ```
/// use agentwire_registry::Registration;
/// use agentwire_codec::map;
///
/// let weather = Registration::new("weather", "tcp://10.0.0.7:8080".parse()?)
///     .with_version("2.1.0".parse()?)
///     .with_capabilities(map! {"languages": ["en", "ja"]})
///     .with_metadata("zone", "b");
/// assert_eq!(weather.capabilities["languages"][0].as_str(), Some("en"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Registration {
    /// The name to find it by.
    pub name: String,
    /// Where to call it.
    pub endpoint: Endpoint,
    /// Tells it from whoever had, or will have, the same name and endpoint. Chosen by whoever registers; a
    /// fresh UUID unless set, and empty if they chose none.
    pub instance: String,
    /// Its version, if it has one.
    pub version: Option<Version>,
    /// What it can do.
    pub capabilities: Map,
    /// What there is to say about it.
    pub metadata: Map,
    /// When it registered, by the clock of the registry.
    pub registered_at: Timestamp,
    last_heartbeat: LastHeartbeat,
}

impl Registration {
    /// An agent that registers now, without version, capabilities and metadata.
    #[must_use]
    pub fn new(name: impl Into<String>, endpoint: Endpoint) -> Self {
        let now = Timestamp::now();
        Self {
            name: name.into(),
            endpoint,
            instance: RequestId::random().to_string(),
            version: None,
            capabilities: Map::new(),
            metadata: Map::new(),
            registered_at: now,
            last_heartbeat: LastHeartbeat::new(now),
        }
    }

    /// Sets the id that tells it from its predecessors and successors. Default: a fresh UUID.
    #[must_use]
    pub fn with_instance(mut self, instance: impl Into<String>) -> Self {
        self.instance = instance.into();
        self
    }

    /// Sets the version. Default: none.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets what it can do. Default: nothing.
    #[must_use]
    pub fn with_capabilities(mut self, capabilities: Map) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Adds one entry to the metadata.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(key, value);
        self
    }

    /// When it last said that it is alive, by the clock of the registry.
    ///
    /// Of a registration that a registry in this process gave out, this moves on with each heartbeat; of one that
    /// came over a wire, it is what was known then.
    #[must_use]
    pub fn last_heartbeat(&self) -> Timestamp {
        self.last_heartbeat.time()
    }

    /// Notes a heartbeat. For registries; readers see it at once.
    pub fn record_heartbeat(&self, at: Timestamp) {
        self.last_heartbeat.set(at);
    }

    /// The same, registered at another time. For registries, whose clock counts.
    #[must_use]
    pub fn registered(mut self, at: Timestamp) -> Self {
        self.registered_at = at;
        self.last_heartbeat.set(at);
        self
    }

    /// True if both say the same of the same agent, whenever they were registered and last heard of.
    #[must_use]
    pub fn is_same_offer(&self, other: &Self) -> bool {
        self.name == other.name
            && self.endpoint == other.endpoint
            && self.instance == other.instance
            && self.version == other.version
            && self.capabilities == other.capabilities
            && self.metadata == other.metadata
    }
}

/// Leaves out what the agent says of itself, which may be long.
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
