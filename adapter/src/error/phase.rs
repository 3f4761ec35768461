//! The step that a call had reached when its timeout expired.

use std::fmt;

/// The step that a call had reached when its timeout expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the instances of the agent in the registry. Nothing was sent.
    Resolving,
    /// Waiting for a free connection of the client. Nothing was sent.
    Queueing,
    /// Opening a connection. Nothing was sent.
    Connecting,
    /// Sending the request.
    Sending,
    /// Waiting for the answer.
    Receiving,
}

impl Phase {
    /// Returns whether the agent may have received the request.
    pub(crate) fn may_have_sent(self) -> bool {
        match self {
            Self::Resolving | Self::Queueing | Self::Connecting => false,
            Self::Sending | Self::Receiving => true,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolving => "looking up its instances",
            Self::Queueing => "waiting for a free connection; raise max_connections",
            Self::Connecting => "connecting",
            Self::Sending => "sending the request",
            Self::Receiving => "waiting for the answer",
        })
    }
}
