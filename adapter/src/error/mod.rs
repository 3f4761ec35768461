//! [`Error`], the error type for calls and servers.

mod call_context;
mod convert;
mod display;
mod phase;
mod protocol_error;

use std::time::Duration;

use agentwire_codec::{EncodeError, ErrorCode, FrameError, WireError};
use agentwire_registry::RegistryError;
use agentwire_transport as transport;

use crate::PeerKind;

pub use self::{call_context::CallContext, phase::Phase, protocol_error::ProtocolError};
pub(crate) use self::{
    convert::{ends_connection, is_unstarted},
    display::write_causes,
};

/// A `Result` whose error type is [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a call or a server. Each variant is a case that a caller may want to handle
/// differently.
///
/// The method [`context`](Self::context) returns the agent, the endpoint and the request of a
/// failed call. `{}` prints the error without its sources. `{:#}` prints the error and its sources
/// on one line. `{:?}` prints each source on a separate line, and is the format that a `main`
/// function prints if it returns an error.
///
/// ```
/// use agentwire::{Message, RemoteAgent};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentwire::Result<()> {
/// let nowhere = RemoteAgent::builder("memory://nowhere").timeout(std::time::Duration::ZERO).build()?;
/// let error = nowhere.process(Message::user("hello")).await.unwrap_err();
/// assert!(error.is_retryable() && !error.was_sent());
/// println!("{error:#}");
/// # Ok(())
/// # }
/// ```
// `Display` and `Debug` are implemented in display.rs because thiserror cannot print the sources.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint is not valid.
    InvalidEndpoint(#[source] transport::Error),

    /// The name is not a valid agent name.
    InvalidName(#[source] RegistryError),

    /// The server could not bind an endpoint.
    Listen(#[source] transport::Error),

    /// The registration of the agent is not valid, so no registry accepts it.
    Register(#[source] RegistryError),

    /// A setting is out of range.
    InvalidSetting {
        /// The name of the setter.
        setting: &'static str,
        /// What is wrong with the value.
        problem: &'static str,
    },

    /// The message could not be encoded, so it was not sent. The connection stays open.
    Encode {
        /// The context of the call.
        context: Box<CallContext>,
        /// What is wrong with the message.
        source: EncodeError,
    },

    /// Servers of the kind that is set with
    /// [`RemoteAgentBuilder::peer`](crate::RemoteAgentBuilder::peer) cannot read the message, so it
    /// was not sent.
    UnreadableByPeer {
        /// The context of the call.
        context: Box<CallContext>,
        /// The kind of the server.
        peer: PeerKind,
        /// The key of the message that such a server cannot read, such as `content`.
        key: &'static str,
        /// What the message has under the key, such as `a list`.
        found: &'static str,
    },

    /// No connection could be opened. The request was not sent.
    ConnectionFailed {
        /// The context of the call.
        context: Box<CallContext>,
        /// The error of the last attempt to connect.
        source: transport::Error,
    },

    /// The registry contains no matching agent with this name. The request was not sent.
    NotRegistered {
        /// The context of the call.
        context: Box<CallContext>,
    },

    /// The agent is registered, but none of its instances could be reached in time. The request was
    /// not sent.
    Unreachable {
        /// The context of the call.
        context: Box<CallContext>,
        /// The number of instances that the client knew when the call failed.
        instances: usize,
        /// The error of the last connection attempt. The call makes no attempt, and the error is
        /// `None`, if other calls have already found the instances unreachable.
        source: Option<transport::Error>,
    },

    /// The lookup of the agent in the registry failed. The request was not sent.
    Registry {
        /// The context of the call.
        context: Box<CallContext>,
        /// The error of the lookup. All calls that were waiting for the lookup return this error.
        source: RegistryError,
    },

    /// The client was closed before or during the call.
    ClientClosed {
        /// The context of the call.
        context: Box<CallContext>,
        /// Whether the agent may have received the request.
        sent: bool,
    },

    /// The call did not end within its timeout. The field `phase` shows whether the agent may have
    /// received the request.
    Timeout {
        /// The context of the call.
        context: Box<CallContext>,
        /// The timeout.
        timeout: Duration,
        /// The step that the call had reached when the timeout expired.
        phase: Phase,
        /// The error of the last connection attempt, if the call was still connecting.
        source: Option<transport::Error>,
    },

    /// The connection ended before the answer arrived.
    ConnectionClosed {
        /// The context of the call.
        context: Box<CallContext>,
        /// Whether the agent may have received and processed the request.
        sent: bool,
        /// The error of the connection, or `None` if the server closed the connection properly.
        source: Option<FrameError>,
    },

    /// The server sent an invalid envelope or an envelope that does not answer the request.
    InvalidMessage {
        /// The context of the call.
        context: Box<CallContext>,
        /// What is wrong with the answer.
        source: ProtocolError,
    },

    /// The server uses an unsupported version of the protocol.
    UnsupportedVersion {
        /// The context of the call.
        context: Box<CallContext>,
        /// The protocol error, which includes the version.
        source: ProtocolError,
    },

    /// The answer cannot be decoded.
    MalformedPayload {
        /// The context of the call.
        context: Box<CallContext>,
        /// What is wrong with the answer.
        source: ProtocolError,
    },

    /// The server has no agent with this name.
    AgentNotFound {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The agent is temporarily unavailable.
    AgentUnavailable {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The agent did not answer within the timeout of the server.
    AgentTimeout {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The server has no tool with this name.
    ToolNotFound {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The tool failed.
    ToolFailed {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The server does not know the method of the request. Python and Go servers do not support
    /// tools and descriptions.
    Unsupported {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The server requires a valid credential: see
    /// [`RemoteAgentBuilder::credentials`](crate::RemoteAgentBuilder::credentials). No agent has
    /// seen the request.
    Unauthenticated {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The caller may not make this request. No agent has seen the request.
    PermissionDenied {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The caller has used up its quota. No agent has seen the request.
    RateLimited {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error. The entry `retry_after_ms` of its details is the time after which
        /// the server accepts requests again.
        error: Box<WireError>,
    },

    /// The agent or its server failed with any other error code.
    RemoteExecution {
        /// The context of the call.
        context: Box<CallContext>,
        /// The server's error: its code, message and details.
        error: Box<WireError>,
    },
}

impl Error {
    /// Returns the agent, the endpoint and the request of the failed call, or `None` if the error
    /// does not belong to a call.
    #[must_use]
    pub fn context(&self) -> Option<&CallContext> {
        match self {
            Self::InvalidEndpoint(_)
            | Self::InvalidName(_)
            | Self::Listen(_)
            | Self::Register(_)
            | Self::InvalidSetting { .. } => None,
            Self::Encode { context, .. }
            | Self::UnreadableByPeer { context, .. }
            | Self::ConnectionFailed { context, .. }
            | Self::NotRegistered { context }
            | Self::Unreachable { context, .. }
            | Self::Registry { context, .. }
            | Self::ClientClosed { context, .. }
            | Self::Timeout { context, .. }
            | Self::ConnectionClosed { context, .. }
            | Self::InvalidMessage { context, .. }
            | Self::UnsupportedVersion { context, .. }
            | Self::MalformedPayload { context, .. }
            | Self::AgentNotFound { context, .. }
            | Self::AgentUnavailable { context, .. }
            | Self::AgentTimeout { context, .. }
            | Self::ToolNotFound { context, .. }
            | Self::ToolFailed { context, .. }
            | Self::Unsupported { context, .. }
            | Self::Unauthenticated { context, .. }
            | Self::PermissionDenied { context, .. }
            | Self::RateLimited { context, .. }
            | Self::RemoteExecution { context, .. } => Some(context),
        }
    }

    /// Returns whether the agent may have received the request. If the result is `false`, the call
    /// can be repeated without the risk that the agent processes the request twice.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        match self {
            Self::ClientClosed { sent, .. } | Self::ConnectionClosed { sent, .. } => *sent,
            Self::Timeout { phase, .. } => phase.may_have_sent(),
            Self::InvalidMessage { .. }
            | Self::UnsupportedVersion { .. }
            | Self::MalformedPayload { .. } => true,
            Self::AgentUnavailable { error, .. } => !is_unstarted(error),
            _ => self.is_remote(),
        }
    }

    /// Returns whether the call can safely be repeated and may then succeed. A call can safely be
    /// repeated if the request was not sent, or if the server reported that the agent is
    /// unavailable.
    ///
    /// Most errors are not retryable if the request may have been sent. For agents that can safely
    /// process a request twice, see [`RetryPolicy::resend`](crate::RetryPolicy::resend).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::ConnectionFailed { .. }
            | Self::NotRegistered { .. }
            | Self::Unreachable { .. }
            | Self::AgentUnavailable { .. }
            | Self::RateLimited { .. } => true,
            Self::Registry { source, .. } => source.is_retryable(),
            Self::Timeout { .. } | Self::ConnectionClosed { .. } => !self.was_sent(),
            _ => false,
        }
    }

    /// Returns whether the call timed out in the client or in the server.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::AgentTimeout { .. })
    }

    /// Returns whether the client failed to open a connection.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self,
            Self::ConnectionFailed { .. } | Self::Unreachable { .. }
        )
    }

    /// Returns whether the connection ended before the answer arrived.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::ConnectionClosed { .. })
    }

    /// Returns whether the requested agent or tool does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::NotRegistered { .. } | Self::AgentNotFound { .. } | Self::ToolNotFound { .. }
        )
    }

    /// Returns whether the server answered with an error.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.remote().is_some()
    }

    /// Returns whether the server violated the protocol.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(
            self,
            Self::InvalidMessage { .. }
                | Self::UnsupportedVersion { .. }
                | Self::MalformedPayload { .. }
        )
    }

    /// Returns whether the message could not be encoded in a form that the server reads. Repeating
    /// the call would fail in the same way.
    #[must_use]
    pub fn is_encode(&self) -> bool {
        matches!(self, Self::Encode { .. } | Self::UnreadableByPeer { .. })
    }

    /// Returns the error that the server sent, with its code, message and details.
    #[must_use]
    pub fn remote(&self) -> Option<&WireError> {
        match self {
            Self::AgentNotFound { error, .. }
            | Self::AgentUnavailable { error, .. }
            | Self::AgentTimeout { error, .. }
            | Self::ToolNotFound { error, .. }
            | Self::ToolFailed { error, .. }
            | Self::Unsupported { error, .. }
            | Self::Unauthenticated { error, .. }
            | Self::PermissionDenied { error, .. }
            | Self::RateLimited { error, .. }
            | Self::RemoteExecution { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Returns the error code that represents this error on the wire ([PROTOCOL 7.1]).
    ///
    /// [PROTOCOL 7.1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ConnectionFailed { .. } => ErrorCode::CONNECTION_FAILED,
            Self::NotRegistered { .. } => ErrorCode::AGENT_NOT_FOUND,
            Self::Unreachable { .. } => ErrorCode::AGENT_UNAVAILABLE,
            Self::Registry { source, .. } | Self::Register(source) => source.code(),
            Self::Timeout { phase, .. } if !phase.may_have_sent() => ErrorCode::CONNECTION_TIMEOUT,
            Self::Timeout { .. } => ErrorCode::AGENT_TIMEOUT,
            Self::ConnectionClosed { .. } | Self::ClientClosed { .. } => {
                ErrorCode::CONNECTION_CLOSED
            }
            Self::InvalidMessage { .. } => ErrorCode::INVALID_MESSAGE,
            Self::UnsupportedVersion { .. } => ErrorCode::UNSUPPORTED_VERSION,
            Self::MalformedPayload { .. } => ErrorCode::MALFORMED_PAYLOAD,
            _ => self
                .remote()
                .map_or(ErrorCode::INTERNAL_ERROR, |error| error.code.clone()),
        }
    }
}
