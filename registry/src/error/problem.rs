//! The reasons why registrations are refused.

use std::fmt;

use agentwire_transport::internal::Untrusted;

/// The reason why a name is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// The name is empty.
    #[error("it is empty")]
    Empty,
    /// The name is too long.
    #[error("it has {len} bytes, and the limit is {max}")]
    TooLong {
        /// The length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The name contains control characters.
    #[error("it contains control characters")]
    Control,
    /// The name begins or ends with white space.
    #[error("it begins or ends with white space")]
    OuterSpace,
}

/// The limit of a registry that was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitKind {
    /// The number of registrations.
    Registrations,
    /// The memory for registrations, in bytes.
    Bytes,
}

impl LimitKind {
    const ALL: [Self; 2] = [Self::Registrations, Self::Bytes];

    /// Returns the name of the limit on the wire (PROTOCOL 12).
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
            Self::Bytes => "bytes",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which quota of a registry server was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaKind {
    /// The number of registrations that were made on one connection.
    RegistrationsPerConnection,
    /// The number of registrations of one peer: a host, or a user behind a Unix socket.
    RegistrationsPerPeer,
    /// The number of concurrent watches on one connection.
    WatchesPerConnection,
    /// The number of concurrent watches of one peer: a host, or a user behind a Unix socket.
    WatchesPerPeer,
}

impl QuotaKind {
    const ALL: [Self; 4] = [
        Self::RegistrationsPerConnection,
        Self::RegistrationsPerPeer,
        Self::WatchesPerConnection,
        Self::WatchesPerPeer,
    ];

    /// Returns true if the quota is one of watches.
    #[must_use]
    pub fn is_of_watches(self) -> bool {
        matches!(self, Self::WatchesPerConnection | Self::WatchesPerPeer)
    }

    /// Returns the name on the wire (PROTOCOL 12).
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RegistrationsPerConnection => "registrations_per_connection",
            Self::RegistrationsPerPeer => "registrations_per_peer",
            Self::WatchesPerConnection => "watches_per_connection",
            Self::WatchesPerPeer => "watches_per_peer",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for QuotaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RegistrationsPerConnection => "registrations for each connection",
            Self::RegistrationsPerPeer => "registrations for each peer",
            Self::WatchesPerConnection => "watches on each connection",
            Self::WatchesPerPeer => "watches for each peer",
        })
    }
}

/// The reason why a registration is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationProblem {
    /// The endpoint has port 0, which cannot be called.
    #[error("port 0 cannot be called; register the port that the system chose")]
    PortZero,
    /// The endpoint has a different meaning, or no meaning, on other machines.
    #[error("its endpoint is not callable: {problem}")]
    Endpoint {
        /// What is wrong with the endpoint.
        problem: &'static str,
    },
    /// The endpoint cannot be written as text that other processes can parse.
    #[error("its endpoint cannot be written as text")]
    NotPortable,
    /// The instance id contains control characters.
    #[error("its instance id must not contain control characters")]
    Instance,
    /// The name of the machine contains control characters.
    #[error("the name of its machine must not contain control characters")]
    Machine,
    /// The version is not a semantic version.
    #[error("invalid version {:?}", Untrusted(text))]
    InvalidVersion {
        /// The text, shortened if it is long.
        text: String,
    },
    /// A text field is too long.
    #[error("its {field} has {len} bytes, and the limit is {max}")]
    TooLong {
        /// The name of the field.
        field: &'static str,
        /// The length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// The capabilities and metadata are too large.
    #[error("its capabilities and metadata have {size} bytes as JSON, and the limit is {max}")]
    TooLarge {
        /// The size as JSON, in bytes.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// The capabilities or metadata are nested too deeply to be sent.
    #[error("its capabilities or metadata nest deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// The capabilities or metadata contain values that JSON or MessagePack does not support.
    #[error("its capabilities or metadata contain bytes, or integers beyond 64 bits")]
    Unwritable,
    /// Another problem, as described by a remote registry or an encoder.
    #[error("{}", Untrusted(text))]
    Other {
        /// The description.
        text: String,
    },
}
