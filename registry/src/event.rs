//! [`Event`]: a change in a registry.

use std::sync::Arc;

use crate::Registration;

/// A change to the contents of a registry. Heartbeats are not events.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// Everything that is registered, in listing order. Replaces all earlier knowledge.
    #[non_exhaustive]
    Snapshot {
        /// The registrations.
        registrations: Vec<Arc<Registration>>,
        /// False for the first event of a watch. True if the snapshot replaces events that may have
        /// been lost, because the reader was too slow or the registry was unreachable.
        resync: bool,
    },
    /// An agent registered.
    Joined(Arc<Registration>),
    /// A registered agent registered again with another version, capabilities, metadata or instance
    /// id.
    Updated(Arc<Registration>),
    /// An agent unregistered.
    Left(Arc<Registration>),
    /// The lease of an agent expired.
    Expired(Arc<Registration>),
}

impl Event {
    /// Creates a snapshot.
    #[must_use]
    pub fn snapshot(registrations: Vec<Arc<Registration>>, resync: bool) -> Self {
        Self::Snapshot {
            registrations,
            resync,
        }
    }

    /// Returns the kind of the event as on the wire (PROTOCOL 12.8): `snapshot`, `joined`,
    /// `updated`, `left` or `expired`.
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

    /// Returns the registration that changed; `None` for a snapshot.
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

    /// Returns true for a snapshot that replaces events that may have been lost.
    #[must_use]
    pub fn is_resync(&self) -> bool {
        matches!(self, Self::Snapshot { resync: true, .. })
    }
}
