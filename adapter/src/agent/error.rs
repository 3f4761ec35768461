//! [`AgentError`], the error type of agents and tools.

use std::{error::Error as StdError, fmt};

use agentwire_codec::{ErrorCode, Map, ToolFailure, WireError};
use agentwire_transport::internal::{Chain, Untrusted};

use crate::{
    Error,
    error::{is_unstarted, write_causes},
};

/// The error of an agent or a tool. The caller receives the code, the text and the details of the
/// error.
///
/// The operator `?` converts any error, boxed error, `anyhow` error, `&str` or `String` into an
/// `AgentError`. The caller then receives the text of the error with the code `INTERNAL_ERROR`, but
/// does not receive the sources. To choose a different code, use [`with_code`](Self::with_code). If
/// the converted error is the [`Error`] of a call to another agent, the caller receives the code,
/// text and details of that agent.
///
/// ```
/// use agentwire::{AgentError, Message};
///
/// async fn double(message: Message) -> Result<Message, AgentError> {
///     let text = message.text().ok_or("the message is not text")?;
///     let number: i64 = text.parse()?;
///     let doubled = number
///         .checked_mul(2)
///         .ok_or_else(|| AgentError::with_code("OUT_OF_RANGE", format!("{number} is too large")))?;
///     Ok(Message::agent(doubled))
/// }
/// ```
///
/// `AgentError` does not implement `std::error::Error`, so that every error type can be converted
/// into an `AgentError`. The operator `?` converts an `AgentError` into a `Box<dyn Error>`, or,
/// with the feature `anyhow`, into an `anyhow::Error`. [`into_boxed`](Self::into_boxed) returns an
/// error that is `Send + Sync`.
///
/// Two details are reserved for servers: `available` in `AGENT_NOT_FOUND`, and the values
/// `stopping` and `memory` of `reason` in `AGENT_UNAVAILABLE`. With these details, clients assume
/// that the request was never started and may send it again. The server therefore removes these
/// details from the errors of agents.
pub struct AgentError(Box<Inner>);

struct Inner {
    wire: WireError,
    source: Option<BoxError>,
}

type BoxError = Box<dyn StdError + Send + Sync>;

impl AgentError {
    /// Creates an error with the code `INTERNAL_ERROR`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::with_code(ErrorCode::INTERNAL_ERROR, message)
    }

    /// Creates an error with the given code.
    #[must_use]
    pub fn with_code(code: impl Into<ErrorCode>, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            wire: WireError::new(code, message),
            source: None,
        }))
    }

    /// Sets the machine-readable details of the error.
    #[must_use]
    pub fn with_details(mut self, details: Map) -> Self {
        self.0.wire.details = details;
        self
    }

    pub(crate) fn no_streaming(name: &str) -> Self {
        // The Python adapter uses the same text (PROTOCOL 7.3).
        Self::new(format!("{name} does not support streaming"))
    }

    /// Returns the code that the caller receives.
    #[must_use]
    pub fn code(&self) -> &ErrorCode {
        &self.0.wire.code
    }

    /// Returns the text that the caller receives.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.wire.message
    }

    /// Returns the details that the caller receives.
    #[must_use]
    pub fn details(&self) -> &Map {
        &self.0.wire.details
    }

    /// Returns the error that was converted into this `AgentError`, if any. The source is not sent
    /// to the caller.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// Returns the [`Error`] of a call that was converted into this `AgentError`, if any.
    #[must_use]
    pub fn call_error(&self) -> Option<&Error> {
        self.source()?.downcast_ref()
    }

    /// Converts this error into a boxed [`std::error::Error`] that can be sent between threads.
    #[must_use]
    pub fn into_boxed(self) -> Box<dyn StdError + Send + Sync> {
        Box::new(StandardError(self))
    }

    /// Restores an error that [`into_boxed`](Self::into_boxed) has converted.
    ///
    /// # Errors
    ///
    /// Returns any other error unchanged.
    #[cfg(feature = "tower")]
    pub(crate) fn from_boxed(error: BoxError) -> Result<Self, BoxError> {
        let error = error.downcast::<StandardError>()?;
        Ok(error.0)
    }

    /// Converts this error into the answer to a request that an agent or a tool has processed.
    pub(crate) fn into_wire(self) -> WireError {
        let mut wire = self.0.wire;
        // Remove the reserved details, which would mean that the request was never started.
        if wire.code == ErrorCode::AGENT_NOT_FOUND {
            wire.details.remove("available");
        } else if is_unstarted(&wire) {
            wire.details.remove("reason");
        }
        wire
    }
}

/// Converts errors, boxed errors and strings.
impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for AgentError {
    fn from(error: E) -> Self {
        let source = error.into();
        // The text of a peer is forwarded unchanged. The implementation of `Display` escapes and
        // shortens the text.
        let wire = if let Some(call_error) = source.downcast_ref::<Error>() {
            call_error.to_wire_error()
        } else if let Some(wire) = source.downcast_ref::<WireError>() {
            wire.clone()
        } else if let Some(StandardError(error)) = source.downcast_ref() {
            error.0.wire.clone()
        } else if let Some(failure) = source.downcast_ref::<ToolFailure>() {
            WireError::new(ErrorCode::INTERNAL_ERROR, &*failure.error)
        } else {
            WireError::new(ErrorCode::INTERNAL_ERROR, source.to_string())
        };
        Self(Box::new(Inner {
            wire,
            source: Some(source),
        }))
    }
}

/// Converts an `AgentError` in functions that return `Box<dyn Error>`, such as `main`.
///
/// A conversion into a boxed error that is `Send + Sync` would conflict with the conversion from
/// error types into `AgentError`. Use [`AgentError::into_boxed`] instead.
impl From<AgentError> for Box<dyn StdError> {
    fn from(error: AgentError) -> Self {
        Box::new(StandardError(error))
    }
}

#[cfg(feature = "anyhow")]
impl From<AgentError> for anyhow::Error {
    fn from(error: AgentError) -> Self {
        Self::new(StandardError(error))
    }
}

/// A wrapper for an [`AgentError`] that implements `std::error::Error`.
struct StandardError(AgentError);

impl StdError for StandardError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // The direct source is skipped, because this error already prints its text.
        self.0.source()?.source()
    }
}

impl fmt::Display for StandardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for StandardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `{}` prints the text. `{:#}` also prints the sources, as `text: source: source`.
impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source() {
            Some(source) if f.alternate() => Chain(source).fmt(f),
            // The text was sent by a peer.
            Some(source) if source.is::<Error>() || source.is::<WireError>() => {
                Untrusted(self.message()).fmt(f)
            }
            _ => f.write_str(self.message()),
        }
    }
}

/// `{:?}` prints the text and the code, followed by each source on a separate line.
impl fmt::Debug for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f
                .debug_struct("AgentError")
                .field("code", self.code())
                .field("message", &self.message())
                .field("details", self.details())
                .field("source", &self.0.source)
                .finish();
        }
        write!(f, "{self} ({})", self.code())?;
        write_causes(f, self.source().and_then(StdError::source))
    }
}

#[cfg(test)]
mod tests {
    use std::{io, num::ParseIntError};

    use agentwire_transport::Endpoint;

    use super::*;
    use crate::CallContext;

    #[test]
    fn any_error_text_or_boxed_error_becomes_one_through_a_question_mark() {
        fn parse() -> Result<i32, AgentError> {
            Ok("seven".parse::<i32>()?)
        }
        fn text() -> Result<i32, AgentError> {
            Err("a text")?
        }
        fn string() -> Result<i32, AgentError> {
            Err("a text".to_owned())?
        }
        fn boxed() -> Result<i32, AgentError> {
            Err(Box::<dyn StdError + Send + Sync>::from("a text"))?
        }
        for (error, message) in [
            (parse(), "invalid digit found in string"),
            (text(), "a text"),
            (string(), "a text"),
            (boxed(), "a text"),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.code(), &ErrorCode::INTERNAL_ERROR);
            assert_eq!(error.message(), message);
        }
        let error = parse().unwrap_err();
        assert!(
            error
                .source()
                .is_some_and(|source| source.is::<ParseIntError>())
        );
    }

    #[test]
    fn it_becomes_a_boxed_error() {
        fn main() -> Result<(), Box<dyn StdError>> {
            Err(AgentError::with_code("QUOTA", "no more today"))?
        }
        assert_eq!(main().unwrap_err().to_string(), "no more today");
        let boxed = AgentError::new("no more today").into_boxed();
        assert_eq!(boxed.to_string(), "no more today");
        assert_eq!(AgentError::from(boxed).message(), "no more today");
    }

    #[test]
    fn the_answer_of_an_agent_never_says_that_the_request_was_not_started() {
        let reason = |code: ErrorCode, reason: &str| {
            let details = Map::from([("reason", reason), ("kept", "yes")]);
            let wire = AgentError::with_code(code, "no").with_details(details);
            let details = wire.into_wire().details;
            assert_eq!(details["kept"], "yes");
            details.contains_key("reason")
        };
        for reserved in ["stopping", "memory"] {
            assert!(!reason(ErrorCode::AGENT_UNAVAILABLE, reserved));
            assert!(reason(ErrorCode::INTERNAL_ERROR, reserved));
        }
        assert!(reason(ErrorCode::AGENT_UNAVAILABLE, "busy"));
        let details = Map::from([("available", "yes")]);
        let error = AgentError::with_code(ErrorCode::AGENT_NOT_FOUND, "no").with_details(details);
        assert!(error.into_wire().details.is_empty());
    }

    #[cfg(feature = "anyhow")]
    #[test]
    fn it_converts_from_and_to_anyhow() {
        fn agent() -> Result<(), AgentError> {
            Err(anyhow::anyhow!("broken").context("cannot start"))?
        }
        fn main() -> anyhow::Result<()> {
            Ok(agent()?)
        }
        assert_eq!(agent().unwrap_err().message(), "cannot start");
        assert_eq!(format!("{:#}", main().unwrap_err()), "cannot start: broken");
    }

    #[test]
    fn the_error_of_a_call_keeps_its_code_and_shows_its_sources() {
        let context = CallContext {
            agent: "echo".to_owned(),
            tool: None,
            endpoint: Some(Endpoint::memory("a").unwrap()),
            request_id: None,
        };
        let error = AgentError::from(Error::from_write(context, io::Error::other("unplugged")));
        assert_eq!(error.code(), &ErrorCode::CONNECTION_CLOSED);
        assert!(error.call_error().is_some_and(Error::is_disconnected));
        // The error must not reveal the endpoint to callers of the agent.
        let text = error.to_string();
        assert_eq!(
            text,
            "agent \"echo\": connection closed before the request was sent"
        );
        assert!(format!("{error:#}").starts_with("agent \"echo\" at memory://a: "));
        let shown = format!("{error:?}");
        assert!(shown.starts_with(&format!("{text} (CONNECTION_CLOSED)\n\nCaused by:\n    ")));
        assert!(shown.ends_with("unplugged"), "{shown}");
    }
}
