use std::sync::Arc;

use crate::Registration;

/// Something that happened to what a registry holds. A heartbeat is no event.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// All that is registered, in order. What was known before is void.
    #[non_exhaustive]
    Snapshot {
        /// What is registered.
        registrations: Vec<Arc<Registration>>,
        /// False for the first event of a watch. True where events may have been missed, because the reader was
        /// too slow or the registry out of reach: the snapshot stands in their place.
        resync: bool,
    },
    /// An agent registered.
    Joined(Arc<Registration>),
    /// An agent that was there registered again, with another version, capabilities, metadata or instance id.
    Updated(Arc<Registration>),
    /// An agent took itself out.
    Left(Arc<Registration>),
    /// An agent was not heard of for longer than its lease.
    Expired(Arc<Registration>),
}

impl Event {
    /// All that is registered.
    #[must_use]
    pub fn snapshot(registrations: Vec<Arc<Registration>>, resync: bool) -> Self {
        Self::Snapshot {
            registrations,
            resync,
        }
    }

    /// What happened, as it is called on wires (PROTOCOL 12.8): `snapshot`, `joined`, `updated`, `left`, `expired`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Joined(_) => "joined",
            Self::Updated(_) => "updated",
            Self::Left(_) => "left",
            Self::Expired(_) => "expired",
        }
    }

    /// The registration that it is about; `None` for a snapshot.
    #[must_use]
    pub fn registration(&self) -> Option<&Arc<Registration>> {
        match self {
            Self::Snapshot { .. } => None,
            Self::Joined(registration)
            | Self::Updated(registration)
            | Self::Left(registration)
            | Self::Expired(registration) => Some(registration),
        }
    }

    /// True for a snapshot that stands in the place of events that may have been missed.
    #[must_use]
    pub fn is_resync(&self) -> bool {
        matches!(self, Self::Snapshot { resync: true, .. })
    }
}
