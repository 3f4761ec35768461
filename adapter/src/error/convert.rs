//! Conversions between [`Error`] and errors on the wire.

use std::io;

use agentwire_codec::{DecodeFault, ErrorCode, FrameError, Value, WireError};

use super::{CallContext, Error, ProtocolError};

impl Error {
    /// Returns the answer of an agent that fails with this error. The text contains the name of the
    /// called agent but not its endpoint (PROTOCOL 7.2).
    pub(crate) fn to_wire_error(&self) -> WireError {
        match self.remote() {
            Some(error) => error.clone(),
            None => WireError::new(self.code(), self.without_location().to_string()),
        }
    }

    /// Creates the error for a call that the server answered with an error.
    pub(crate) fn from_remote(context: CallContext, error: WireError) -> Self {
        let (context, error) = (Box::new(context), Box::new(error));
        // Error codes cannot be matched as patterns, because the set of codes is open.
        if context.tool.is_some() && (is_unknown_method(&error) || has_no_route(&error)) {
            Self::Unsupported { context, error }
        } else if error.code == ErrorCode::AGENT_NOT_FOUND {
            Self::AgentNotFound { context, error }
        } else if error.code == ErrorCode::AGENT_UNAVAILABLE {
            Self::AgentUnavailable { context, error }
        } else if error.code == ErrorCode::AGENT_TIMEOUT {
            Self::AgentTimeout { context, error }
        } else if error.code == ErrorCode::TOOL_NOT_FOUND {
            Self::ToolNotFound { context, error }
        } else if error.code == ErrorCode::TOOL_EXECUTION_FAILED {
            Self::ToolFailed { context, error }
        } else if error.code == ErrorCode::UNAUTHENTICATED {
            Self::Unauthenticated { context, error }
        } else if error.code == ErrorCode::PERMISSION_DENIED {
            Self::PermissionDenied { context, error }
        } else if error.code == ErrorCode::RATE_LIMITED {
            Self::RateLimited { context, error }
        } else {
            Self::RemoteExecution { context, error }
        }
    }

    /// Creates the error for a request with a method that other servers may not know.
    ///
    /// Python and Go servers of HTTP take any request for a call, and find no message in it.
    pub(crate) fn from_remote_method(context: CallContext, error: WireError) -> Self {
        if is_unknown_method(&error) || error.code == ErrorCode::INVALID_MESSAGE {
            let (context, error) = (Box::new(context), Box::new(error));
            Self::Unsupported { context, error }
        } else {
            Self::from_remote(context, error)
        }
    }

    /// Creates the error for a call whose server violated the protocol.
    pub(crate) fn from_protocol(context: CallContext, source: ProtocolError) -> Self {
        let context = Box::new(context);
        match &source {
            ProtocolError::Unexpected { .. } => Self::InvalidMessage { context, source },
            ProtocolError::Frame(_) => Self::MalformedPayload { context, source },
            #[cfg(feature = "grpc")]
            ProtocolError::Grpc { .. } => Self::MalformedPayload { context, source },
            ProtocolError::Envelope(error) => match error.fault() {
                DecodeFault::Envelope { .. } => Self::InvalidMessage { context, source },
                DecodeFault::Version { .. } => Self::UnsupportedVersion { context, source },
                _ => Self::MalformedPayload { context, source },
            },
        }
    }

    /// Creates the error for a connection that ended after the request was sent. An answer that is
    /// too large or uses another protocol is reported as a violation of the protocol.
    pub(crate) fn from_broken(context: CallContext, source: Option<FrameError>) -> Self {
        match source {
            Some(source) if source.is_refusal() => Self::from_protocol(context, source.into()),
            source => Self::ConnectionClosed {
                context: Box::new(context),
                sent: true,
                source,
            },
        }
    }

    /// Creates the error for a request that could not be written completely.
    pub(crate) fn from_write(context: CallContext, source: io::Error) -> Self {
        Self::ConnectionClosed {
            context: Box::new(context),
            sent: false,
            source: Some(source.into()),
        }
    }
}

/// Returns whether the server refused the request before it started the request, because the server
/// is stopping (PROTOCOL 8.4) or has no memory (PROTOCOL 1.9). No agent has seen the request.
pub(crate) fn is_unstarted(error: &WireError) -> bool {
    let reason = error.details.get("reason").and_then(Value::as_str);
    error.code == ErrorCode::AGENT_UNAVAILABLE && matches!(reason, Some("stopping" | "memory"))
}

/// Returns whether the server closes the connection after it has sent an error. Go servers do so
/// after a request that is no call (PROTOCOL 11), and stopping servers after any refusal.
pub(crate) fn ends_connection(error: &WireError) -> bool {
    is_unstarted(error)
        || error.message.starts_with("invalid message: ")
        || error.code == ErrorCode::INVALID_MESSAGE && error.message == "missing method"
}

/// Returns whether the error is the answer of an HTTP server that has no path for tools, as the
/// servers of Python and Go (PROTOCOL 15.2).
fn has_no_route(error: &WireError) -> bool {
    error.code == ErrorCode::AGENT_NOT_FOUND && error.details.contains_key("status")
}

/// Returns whether the error means that the method is unknown (PROTOCOL 7.3). Go servers say so
/// only in the text (PROTOCOL 11).
fn is_unknown_method(error: &WireError) -> bool {
    let text = &error.message;
    let text = text.strip_prefix("invalid message: ").unwrap_or(text);
    error.code == ErrorCode::NOT_IMPLEMENTED
        || error.code == ErrorCode::INVALID_MESSAGE && error.details.contains_key("method")
        || text.starts_with("unknown method: ")
}
