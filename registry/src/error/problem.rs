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
