//! The changes of a registry: [`Event`].

use std::sync::Arc;

use crate::Registration;

/// A change to the contents of a registry. Heartbeats are not reported as events.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// All current registrations, in listing order. A snapshot replaces all earlier events.
    #[non_exhaustive]
    Snapshot {
        /// The registrations.
        registrations: Vec<Arc<Registration>>,
        /// Whether the snapshot replaces lost events. Events can be lost if the reader is too slow
        /// or the registry is unreachable. The first snapshot of a watch is never a resync.
        resync: bool,
    },
    /// An agent registered.
    Joined(Arc<Registration>),
    /// An agent changed its registration by registering again with a different version, instance
    /// id, capabilities or metadata.
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

    /// Returns the name of the event on the wire ([PROTOCOL 12.8]): `snapshot`, `joined`,
    /// `updated`, `left` or `expired`.
    ///
    /// [PROTOCOL 12.8]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
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

    /// Returns the changed registration, or `None` for a snapshot.
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

    /// Returns whether the event is a snapshot that replaces lost events.
    #[must_use]
    pub fn is_resync(&self) -> bool {
        matches!(self, Self::Snapshot { resync: true, .. })
    }
}
