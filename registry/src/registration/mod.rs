use agentwire_codec::{Map, Timestamp};
use agentwire_transport::Endpoint;

/// What a registry keeps about one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// The name to find it by.
    pub name: String,
    /// Where to call it.
    pub endpoint: Endpoint,
    /// What it can do.
    pub capabilities: Map,
    /// What there is to say about it.
    pub metadata: Map,
    /// When it registered.
    pub registered_at: Timestamp,
    /// When it last said that it is alive.
    pub last_heartbeat: Timestamp,
}

impl Registration {
    /// An agent that registers now, without capabilities and metadata.
    #[must_use]
    pub fn new(name: impl Into<String>, endpoint: Endpoint) -> Self {
        let now = Timestamp::now();
        Self {
            name: name.into(),
            endpoint,
            capabilities: Map::new(),
            metadata: Map::new(),
            registered_at: now,
            last_heartbeat: now,
        }
    }
}
