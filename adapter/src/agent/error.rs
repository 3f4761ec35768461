use std::{error::Error as StdError, fmt};

use agentwire_codec::{ErrorCode, Map, WireError};

use crate::Error;

type Source = Box<dyn StdError + Send + Sync>;

/// What an agent fails with.
///
/// Any error becomes one through `?`: its text is what the caller gets to read, with the code
/// `INTERNAL_ERROR`; its sources stay here. An error of a call to another agent keeps the code, the
/// text and the details of that agent, so that agents can stand in line. To choose a code, make one
/// with [`with_code`](Self::with_code).
///
/// Of an `AGENT_NOT_FOUND` the caller does not get the detail `available`: a server that has no such agent says by it
/// that nothing was done, and the request may go elsewhere.
///
/// Because every error converts into it, this type is not itself a `std::error::Error`; it converts into
/// `Box<dyn Error + Send + Sync>`.
pub struct AgentError(Box<Inner>);

struct Inner {
    wire: WireError,
    source: Option<Source>,
}

impl AgentError {
    /// A failure with the code `INTERNAL_ERROR`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code(ErrorCode::INTERNAL_ERROR, message)
    }

    /// A failure with a code of the agent's choice.
    #[must_use]
    pub fn with_code(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            wire: WireError::new(code, message),
            source: None,
        }))
    }

    /// Sets the details, which are for programs.
    #[must_use]
    pub fn with_details(mut self, details: Map) -> Self {
        self.0.wire.details = details;
        self
    }

    pub(crate) fn no_streaming(name: &str) -> Self {
        // The text is the Python adapter's (PROTOCOL 7.3).
        Self::new(format!("{name} does not support streaming"))
    }

    /// The code that the caller gets.
    #[must_use]
    pub fn code(&self) -> &ErrorCode {
        &self.0.wire.code
    }

    /// The text that the caller gets.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.wire.message
    }

    /// The details that the caller gets.
    #[must_use]
    pub fn details(&self) -> &Map {
        &self.0.wire.details
    }

    /// The error that this was made from, if any. It is not told to the caller.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// The failed call that this was made from, if it was one.
    #[must_use]
    pub fn call_error(&self) -> Option<&Error> {
        self.source()?.downcast_ref()
    }

    /// What is answered to a request that was worked on.
    pub(crate) fn into_wire(self) -> WireError {
        let mut wire = self.0.wire;
        // With it, this would be what a server says that has not begun.
        if wire.code == ErrorCode::AGENT_NOT_FOUND {
            wire.details.remove("available");
        }
        wire
    }
}

impl<E: StdError + Send + Sync + 'static> From<E> for AgentError {
    fn from(error: E) -> Self {
        let source: Source = Box::new(error);
        let wire = if let Some(call_error) = source.downcast_ref::<Error>() {
            call_error.to_wire_error()
        } else if let Some(wire) = source.downcast_ref::<WireError>() {
            wire.clone()
        } else {
            WireError::new(ErrorCode::INTERNAL_ERROR, source.to_string())
        };
        Self(Box::new(Inner {
            wire,
            source: Some(source),
        }))
    }
}

impl From<AgentError> for Source {
    fn from(error: AgentError) -> Self {
        Box::new(Failure(error))
    }
}

/// Not transparent: the text of the source is already the message.
struct Failure(AgentError);

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()?.source()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentError")
            .field("code", self.code())
            .field("message", &self.message())
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::num::ParseIntError;

    use super::*;

    #[test]
    fn any_error_becomes_one_through_a_question_mark() {
        fn parse() -> Result<i32, AgentError> {
            Ok("seven".parse::<i32>()?)
        }
        let error = parse().unwrap_err();
        assert_eq!(error.code(), &ErrorCode::INTERNAL_ERROR);
        assert_eq!(error.message(), "invalid digit found in string");
        assert!(
            error
                .source()
                .is_some_and(|source| source.is::<ParseIntError>())
        );
    }

    #[test]
    fn it_becomes_a_boxed_error() {
        let boxed: Source = AgentError::with_code("QUOTA", "no more today").into();
        assert_eq!(boxed.to_string(), "no more today");
    }
}
