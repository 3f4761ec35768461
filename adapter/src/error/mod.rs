//! [`Error`]: everything that can go wrong between a caller and an agent.

mod call_context;
mod convert;
mod display;
mod phase;
mod protocol_error;

use std::time::Duration;

use agentwire_codec::{EncodeError, ErrorCode, FrameError, WireError};
use agentwire_registry::RegistryError;
use agentwire_transport as transport;

pub(crate) use self::display::write_causes;
pub use self::{call_context::CallContext, phase::Phase, protocol_error::ProtocolError};

/// A result whose error is an [`Error`], unless it is given another.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a call or of a server, with a variant for each decision that a caller can make.
///
/// The error of a call says which agent was called, where, and in which request: see
/// [`context`](Self::context). `{}` prints the error, `{:#}` prints it with its sources on one line,
/// and `{:?}`, which is what a `main` that returns it prints, with its sources on lines of their
/// own.
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
// `Display` and `Debug` are written by hand, in display.rs: thiserror cannot print the sources.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no endpoint. Correct it.
    InvalidEndpoint(#[source] transport::Error),

    /// The name is not a valid agent name. Choose another.
    InvalidName(#[source] RegistryError),

    /// The server could not bind an endpoint.
    Listen(#[source] transport::Error),

    /// No registry accepts the agent.
    Register(#[source] RegistryError),

    /// A setting is out of range.
    InvalidSetting {
        /// The name of the setter.
        setting: &'static str,
        /// What is wrong with the value.
        problem: &'static str,
    },

    /// The message cannot be encoded. It was not sent; the connection stays open.
    Encode {
        /// The call.
        context: Box<CallContext>,
        /// What is wrong with the message.
        source: EncodeError,
    },

    /// No connection could be opened. The request was not sent.
    ConnectionFailed {
        /// The call.
        context: Box<CallContext>,
        /// Why the last attempt failed.
        source: transport::Error,
    },

    /// The registry knows no agent of that name. The request was not sent.
    NotRegistered {
        /// The call.
        context: Box<CallContext>,
    },

    /// The registry knows the agent, but none of its instances could be reached in time. The request
    /// was not sent.
    Unreachable {
        /// The call.
        context: Box<CallContext>,
        /// The number of instances that the registry knew in the end.
        instances: usize,
        /// Why the last connection failed; `None` if this call opened none, because others had
        /// already failed.
        source: Option<transport::Error>,
    },

    /// The agent could not be looked up in the registry. The request was not sent.
    Registry {
        /// The call.
        context: Box<CallContext>,
        /// Why the lookup failed. Calls that waited for the same lookup share it.
        source: RegistryError,
    },

    /// The client is closed. A call was refused, or a stream is not read any further.
    ClientClosed {
        /// The call.
        context: Box<CallContext>,
        /// Whether the agent may have received the request.
        sent: bool,
    },

    /// The call did not end within its timeout. Unless `phase` says that the request was not sent,
    /// the agent may have worked on it.
    Timeout {
        /// The call.
        context: Box<CallContext>,
        /// The timeout.
        timeout: Duration,
        /// What the call was doing when its time was up.
        phase: Phase,
    },

    /// The connection was closed before the answer arrived.
    ConnectionClosed {
        /// The call.
        context: Box<CallContext>,
        /// Whether the agent may have received the request, and worked on it.
        sent: bool,
        /// How the connection broke; `None` if the server closed it.
        source: Option<FrameError>,
    },

    /// The server sent something that is not an envelope, or an envelope that does not answer the
    /// request.
    InvalidMessage {
        /// The call.
        context: Box<CallContext>,
        /// What is wrong with it.
        source: ProtocolError,
    },

    /// The server speaks another version of the protocol.
    UnsupportedVersion {
        /// The call.
        context: Box<CallContext>,
        /// The version.
        source: ProtocolError,
    },

    /// The answer cannot be decoded.
    MalformedPayload {
        /// The call.
        context: Box<CallContext>,
        /// What is wrong with it.
        source: ProtocolError,
    },

    /// The server has no agent of that name.
    AgentNotFound {
        /// The call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The agent cannot be called at the moment.
    AgentUnavailable {
        /// The call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The agent did not answer within the server's time limit.
    AgentTimeout {
        /// The call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The server has no tool of that name.
    ToolNotFound {
        /// The call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The tool failed.
    ToolFailed {
        /// The call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The server does not support the method. Python's and Go's servers do not run tools.
    Unsupported {
        /// The call.
        context: Box<CallContext>,
        /// The server's error.
        error: Box<WireError>,
    },

    /// The agent or its server failed, with any other code.
    RemoteExecution {
        /// The call.
        context: Box<CallContext>,
        /// The server's error: its code, message and details.
        error: Box<WireError>,
    },
}

impl Error {
    /// Returns which agent was called, where, and in which request. `None` for an error that is not
    /// of a call.
    #[must_use]
    pub fn context(&self) -> Option<&CallContext> {
        match self {
            Self::InvalidEndpoint(_)
            | Self::InvalidName(_)
            | Self::Listen(_)
            | Self::Register(_)
            | Self::InvalidSetting { .. } => None,
            Self::Encode { context, .. }
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
            | Self::RemoteExecution { context, .. } => Some(context),
        }
    }

    /// Returns whether the agent may have received the request. If not, the call can be repeated
    /// without the risk that the agent does the same work twice.
    #[must_use]
    pub fn was_sent(&self) -> bool {
        match self {
            Self::ClientClosed { sent, .. } | Self::ConnectionClosed { sent, .. } => *sent,
            Self::Timeout { phase, .. } => phase.may_have_sent(),
            Self::InvalidMessage { .. }
            | Self::UnsupportedVersion { .. }
            | Self::MalformedPayload { .. } => true,
            _ => self.is_remote(),
        }
    }

    /// Returns whether the same call may succeed later, and repeating it does no harm: either the
    /// request was not sent, or the server says that the agent is unavailable.
    ///
    /// An error that may concern a request that was sent is not retryable in general. If the agent
    /// may do the same work twice, see [`RetryPolicy::resend`](crate::RetryPolicy::resend).
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::ConnectionFailed { .. }
            | Self::NotRegistered { .. }
            | Self::Unreachable { .. }
            | Self::AgentUnavailable { .. } => true,
            Self::Registry { source, .. } => source.is_retryable(),
            Self::Timeout { .. } | Self::ConnectionClosed { .. } => !self.was_sent(),
            _ => false,
        }
    }

    /// Returns whether the time of the call was up, here or at the server.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::AgentTimeout { .. })
    }

    /// Returns whether no connection could be opened.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self,
            Self::ConnectionFailed { .. } | Self::Unreachable { .. }
        )
    }

    /// Returns whether the connection was lost before the answer.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::ConnectionClosed { .. })
    }

    /// Returns whether the registry or the server knows no agent or tool of that name.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(
            self,
            Self::NotRegistered { .. } | Self::AgentNotFound { .. } | Self::ToolNotFound { .. }
        )
    }

    /// Returns whether the server answered, with an error.
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

    /// Returns whether the message itself is at fault. Sending it would fail anywhere.
    #[must_use]
    pub fn is_encode(&self) -> bool {
        matches!(self, Self::Encode { .. })
    }

    /// Returns the error that the server answered with: its code, message and details.
    #[must_use]
    pub fn remote(&self) -> Option<&WireError> {
        match self {
            Self::AgentNotFound { error, .. }
            | Self::AgentUnavailable { error, .. }
            | Self::AgentTimeout { error, .. }
            | Self::ToolNotFound { error, .. }
            | Self::ToolFailed { error, .. }
            | Self::Unsupported { error, .. }
            | Self::RemoteExecution { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Returns the code of this error on the wire (PROTOCOL 7.1).
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
