//! What a caller does: [`Verb`].

use std::fmt;

/// A kind of request, which a [`Rule`](super::Rule) allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Sends a message to an agent and receives one answer.
    Call,
    /// Sends a message to an agent and receives a stream of answers.
    Stream,
    /// Runs a tool.
    Execute,
    /// Registers an agent, renews its registration, or unregisters it.
    Register,
    /// Looks up registrations, or asks a server to describe itself.
    Lookup,
    /// Watches a registry.
    Watch,
    /// Checks whether a server is alive.
    Ping,
    /// Reads metrics.
    Metrics,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 8] = [
        Self::Call,
        Self::Stream,
        Self::Execute,
        Self::Register,
        Self::Lookup,
        Self::Watch,
        Self::Ping,
        Self::Metrics,
    ];

    /// Returns the name of the verb in a policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Stream => "stream",
            Self::Execute => "execute",
            Self::Register => "register",
            Self::Lookup => "lookup",
            Self::Watch => "watch",
            Self::Ping => "ping",
            Self::Metrics => "metrics",
        }
    }

    /// Returns the verb with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == name)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
