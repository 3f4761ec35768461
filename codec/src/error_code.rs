//! Stable error codes on the wire.

use std::{borrow::Cow, fmt};

use agentwire_text::Untrusted;

/// A stable error code on the wire, such as `AGENT_NOT_FOUND` ([PROTOCOL 7.1]).
///
/// The set of codes is open. Codes that this version does not know are kept unchanged.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::ErrorCode;
///
/// let code = ErrorCode::from("QUOTA_EXCEEDED");
/// assert_ne!(code, ErrorCode::INTERNAL_ERROR);
/// assert_eq!(code.as_str(), "QUOTA_EXCEEDED");
/// ```
///
/// [PROTOCOL 7.1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ErrorCode(Cow<'static, str>);

macro_rules! standard_codes {
    ($($(#[$doc:meta])* $name:ident)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed(stringify!($name)));)*

            /// Returns the standard code with this name. Standard codes are borrowed, so decoding
            /// one does not allocate.
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
    /// The connection could not be opened.
    CONNECTION_FAILED
    /// Opening a connection or waiting for a reply timed out.
    CONNECTION_TIMEOUT
    /// The connection was closed before the reply arrived.
    CONNECTION_CLOSED
    /// The payload is not an envelope, or the receiver does not accept its type or method.
    INVALID_MESSAGE
    /// The envelope has a protocol version that is not supported.
    UNSUPPORTED_VERSION
    /// The payload cannot be decoded.
    MALFORMED_PAYLOAD
    /// No agent has this name.
    AGENT_NOT_FOUND
    /// The agent exists but is temporarily unavailable.
    AGENT_UNAVAILABLE
    /// The agent did not reply in time.
    AGENT_TIMEOUT
    /// No tool has this name.
    TOOL_NOT_FOUND
    /// The tool failed.
    TOOL_EXECUTION_FAILED
    /// The registry refused a registration.
    REGISTRATION_FAILED
    /// The name is already registered.
    DUPLICATE_AGENT
    /// The request has no valid credential (PROTOCOL 14).
    UNAUTHENTICATED
    /// The caller may not make this request (PROTOCOL 14).
    PERMISSION_DENIED
    /// The caller has used up its quota (PROTOCOL 14).
    RATE_LIMITED
    /// The agent or its server failed.
    INTERNAL_ERROR
    /// The agent failed (sent by servers written in Go).
    AGENT_ERROR
    /// A stream failed (sent by servers written in Go).
    STREAM_ERROR
    /// The agent does not support the method (sent by servers written in Go).
    NOT_IMPLEMENTED
    /// The call was cancelled (sent by servers written in Go).
    CANCELLED
}

impl ErrorCode {
    /// Returns the code as a string.
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

/// Formats the code for logs: the text is escaped and truncated, because a peer may have chosen it.
/// [`as_str`](ErrorCode::as_str) returns the code unchanged.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Untrusted(&self.0).fmt(f)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
