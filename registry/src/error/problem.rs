use std::fmt;

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// There is none.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it has {len} bytes, and the limit is {max}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The most that it may have.
        max: usize,
    },
    /// It has control characters.
    #[error("it has control characters")]
    Control,
    /// It begins or ends with white space.
    #[error("it begins or ends with white space")]
    OuterSpace,
}

/// What a registry has no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitKind {
    /// Places for registrations.
    Registrations,
    /// Memory for them, in bytes.
    Bytes,
}

impl LimitKind {
    const ALL: [Self; 2] = [Self::Registrations, Self::Bytes];

    /// Its name on the wire (PROTOCOL 12).
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
            Self::Bytes => "bytes",
        }
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a registration, whoever else is registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationProblem {
    /// Nobody can call port 0.
    #[error("port 0 cannot be called; register the port that the system chose")]
    PortZero,
    /// The endpoint means nothing to others.
    #[error("its endpoint cannot be written down for others")]
    NotPortable,
    /// The instance id is no id.
    #[error("its instance id must be text, without control characters")]
    Instance,
    /// One of its texts is too long.
    #[error("its {field} has {len} bytes, and the limit is {max}")]
    TooLong {
        /// Which one.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The most that it may have.
        max: usize,
    },
    /// Capabilities and metadata are too large.
    #[error("its capabilities and metadata have {size} bytes as JSON, and the limit is {max}")]
    TooLarge {
        /// Their size as JSON, in bytes.
        size: usize,
        /// The most that they may have.
        max: usize,
    },
    /// Capabilities or metadata nest too deeply to be passed on.
    #[error("its capabilities or metadata nest deeper than {max} levels")]
    TooDeep {
        /// The deepest that they may nest.
        max: usize,
    },
    /// Capabilities or metadata hold what JSON or MessagePack does not have.
    #[error("its capabilities or metadata hold bytes, or integers beyond 64 bits")]
    Unwritable,
    /// Something else, in the words of whoever found it.
    #[error("{text}")]
    Told {
        /// Its words.
        text: String,
    },
}
