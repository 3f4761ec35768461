//! The payload of an `error` envelope.

use std::fmt;

use agentwire_text::Untrusted;

use crate::{ErrorCode, Map};

/// The payload of an `error` envelope: a stable code, a human-readable message, and
/// machine-readable details ([PROTOCOL 7]).
///
/// In `{}` and `{:?}` output, the texts are escaped and truncated, because a peer chose them. The
/// fields contain the unchanged texts.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::{WireError, map};
///
/// let error = WireError::new("NO_SUCH_CITY", "there is no Atlantis").with_details(map! {"city": "Atlantis"});
/// assert_eq!(error.code.as_str(), "NO_SUCH_CITY");
/// assert_eq!(error.details["city"], "Atlantis");
/// ```
///
/// [PROTOCOL 7]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WireError {
    /// The stable error code.
    pub code: ErrorCode,
    /// The human-readable description of the error.
    pub message: String,
    /// The machine-readable details of the error.
    pub details: Map,
}

impl WireError {
    /// Creates an error without details.
    #[must_use]
    pub fn new(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            details: Map::new(),
        }
    }

    /// Sets the details.
    #[must_use]
    pub fn with_details(mut self, details: Map) -> Self {
        self.details = details;
        self
    }
}

impl std::error::Error for WireError {}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, Untrusted(&self.message))
    }
}

impl fmt::Debug for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireError")
            .field("code", &self.code)
            .field("message", &Untrusted(&self.message))
            .field("details", &self.details)
            .finish()
    }
}
