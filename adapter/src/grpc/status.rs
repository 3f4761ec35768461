//! The status of a call, which the trailers of its answer contain.

use std::fmt;

use agentwire_transport::internal::Untrusted;
use http::{HeaderMap, HeaderValue};

/// The outcome of a call as gRPC knows it. The failures of agents are answers with the status OK.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The code of a [`Status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    /// Returns the code in the form of gRPC's documentation, such as `DEADLINE_EXCEEDED`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl Status {
    pub(crate) const OK: Self = Self {
        code: Code::Ok,
        message: String::new(),
    };

    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, message }
    }

    /// Returns the trailers with this status.
    pub(crate) fn to_trailers(&self) -> HeaderMap {
        let mut trailers = HeaderMap::with_capacity(2);
        self.write(&mut trailers);
        trailers
    }

    /// Adds the status to the trailers, or to the headers of an answer without messages.
    pub(crate) fn write(&self, trailers: &mut HeaderMap) {
        let code = match self.code {
            Code::Ok => HeaderValue::from_static("0"),
            code => HeaderValue::from(code as u16),
        };
        trailers.insert(STATUS, code);
        if !self.message.is_empty() {
            // Percent-encoded text is always a valid header.
            if let Ok(message) = HeaderValue::try_from(encode(&self.message)) {
                trailers.insert(MESSAGE, message);
            }
        }
    }

    /// Reads the status from trailers. Returns `None` if they have no status.
    pub(crate) fn read(trailers: &HeaderMap) -> Option<Self> {
        let code = trailers.get(STATUS)?.to_str().ok();
        let code = code.and_then(|code| code.parse::<usize>().ok());
        let code = code.and_then(|code| Code::ALL.get(code).copied());
        let message = trailers.get(MESSAGE).map(|text| decode(text.as_bytes()));
        Some(Self {
            // A code outside the standard says as little as UNKNOWN.
            code: code.unwrap_or(Code::Unknown),
            message: message.unwrap_or_default(),
        })
    }
}

/// Formats the status for logs and errors. A peer may have chosen the message.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.name())?;
        if !self.message.is_empty() {
            write!(f, ": {}", Untrusted(&self.message))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({self})")
    }
}

/// Encodes a message for a header, cut to a length that all clients accept.
fn encode(message: &str) -> String {
    let mut text = String::new();
    for byte in message.bytes().take(MAX_MESSAGE) {
        match byte {
            b'%' | 0..b' ' | 0x7f.. => text.push_str(&format!("%{byte:02X}")),
            byte => text.push(char::from(byte)),
        }
    }
    text
}

/// Decodes a message from a header. What is not percent-encoded is kept.
fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%');
        let escaped = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// The maximum length of a message. Clients limit the size of all trailers together, often to 8
/// KiB, and hang if it is exceeded.
const MAX_MESSAGE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_round_trips() {
        for code in Code::ALL {
            let status = Status::new(code, "100 % of \u{1f980}\n");
            let trailers = status.to_trailers();
            assert_eq!(Status::read(&trailers), Some(status));
        }
        assert_eq!(Status::OK.to_trailers().len(), 1);
        assert_eq!(Status::read(&HeaderMap::new()), None);
    }

    #[test]
    fn statuses_of_other_writers_are_read() {
        let mut trailers = HeaderMap::new();
        trailers.insert(STATUS, HeaderValue::from_static("99"));
        trailers.insert(MESSAGE, HeaderValue::from_static("50% %zz %C3%A9"));
        let status = Status::read(&trailers).unwrap();
        assert_eq!(status, Status::new(Code::Unknown, "50% %zz \u{e9}"));
    }

    #[test]
    fn a_long_message_is_cut() {
        let status = Status::new(Code::Internal, "x".repeat(100_000));
        assert_eq!(
            Status::read(&status.to_trailers()).unwrap().message.len(),
            MAX_MESSAGE
        );
    }
}
