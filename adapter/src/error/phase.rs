use std::fmt;

/// What a call was doing when its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up where the agent is. Nothing was sent.
    Resolving,
    /// Waiting for one of the client's connections to become free. Nothing was sent.
    Queueing,
    /// Connecting. Nothing was sent.
    Connecting,
    /// Sending the request.
    Sending,
    /// Waiting for the answer.
    Receiving,
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
