use std::{borrow::Cow, fmt};

/// The stable name of an error on the wire, such as `AGENT_NOT_FOUND` (PROTOCOL 7.1).
///
/// The set is open: a code that this version does not know is kept as it came.
///
/// ```
/// use agentwire_codec::ErrorCode;
///
/// let code = ErrorCode::from("QUOTA_EXCEEDED");
/// assert_ne!(code, ErrorCode::INTERNAL_ERROR);
/// assert_eq!(code.as_str(), "QUOTA_EXCEEDED");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ErrorCode(Cow<'static, str>);

macro_rules! standard_codes {
    ($($(#[$doc:meta])* $name:ident)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed(stringify!($name)));)*

            /// A known code is borrowed, so that reading one costs no allocation.
            fn known(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($name) => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

standard_codes! {
    /// No connection could be made.
    CONNECTION_FAILED
    /// A connection or an answer took too long.
    CONNECTION_TIMEOUT
    /// The connection ended before the answer.
    CONNECTION_CLOSED
    /// The envelope is not one, or is of a type or method that does not belong here.
    INVALID_MESSAGE
    /// The envelope is of a protocol version that is not spoken here.
    UNSUPPORTED_VERSION
    /// The payload cannot be decoded.
    MALFORMED_PAYLOAD
    /// There is no agent of that name.
    AGENT_NOT_FOUND
    /// The agent exists and cannot be called now.
    AGENT_UNAVAILABLE
    /// The agent took too long.
    AGENT_TIMEOUT
    /// There is no tool of that name.
    TOOL_NOT_FOUND
    /// The tool failed.
    TOOL_EXECUTION_FAILED
    /// The registry refused a registration.
    REGISTRATION_FAILED
    /// The name is registered already.
    DUPLICATE_AGENT
    /// The agent failed, or its server did.
    INTERNAL_ERROR
    /// What a Go server answers when the agent fails.
    AGENT_ERROR
    /// What a Go server answers when a stream fails.
    STREAM_ERROR
    /// What a Go server answers for a method that the agent lacks.
    NOT_IMPLEMENTED
    /// What a Go server answers when the call was cancelled.
    CANCELLED
}

impl ErrorCode {
    /// The code as it is written on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ErrorCode {
    fn from(text: &str) -> Self {
        Self::known(text).unwrap_or_else(|| Self(Cow::Owned(text.to_owned())))
    }
}

impl From<String> for ErrorCode {
    fn from(text: String) -> Self {
        Self::known(&text).unwrap_or(Self(Cow::Owned(text)))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
