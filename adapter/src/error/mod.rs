mod call_context;
mod phase;
mod protocol_error;

use std::{io, time::Duration};

use agentwire_codec::{DecodeFault, EncodeError, ErrorCode, FrameError, WireError};
use agentwire_registry::RegistryError;
use agentwire_transport as transport;

pub use self::{call_context::CallContext, phase::Phase, protocol_error::ProtocolError};

/// What can go wrong between a caller and an agent. A variant for each decision that a caller may take.
///
/// Every error of a call says which agent was meant, where, and in which request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint's text means nothing. Mend it.
    #[error("invalid endpoint")]
    InvalidEndpoint(#[source] transport::Error),

    /// No agent can have that name. Choose another.
    #[error("invalid name")]
    InvalidName(#[source] RegistryError),

    /// The server could not listen.
    #[error("cannot serve the agent")]
    Listen(#[source] transport::Error),

    /// The agent cannot be registered, whichever registry it is.
    #[error("cannot register the agent")]
    Register(#[source] RegistryError),

    /// A setting is out of range.
    #[error("invalid setting {setting}: {problem}")]
    InvalidSetting {
        /// Which setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// The message cannot be put on the wire. Nothing was sent; the connection lives on.
    #[error("{site}: message cannot be sent")]
    Encode {
        /// Which call.
        site: Box<CallContext>,
        /// What is wrong with the message.
        source: EncodeError,
    },

    /// No connection could be made. Nothing was sent.
    #[error("{site}: connection failed")]
    ConnectionFailed {
        /// Which call.
        site: Box<CallContext>,
        /// Why.
        source: transport::Error,
    },

    /// The registry has no agent of that name. Nothing was sent.
    #[error("{site}: no agent of that name is registered")]
    NotRegistered {
        /// Which call.
        site: Box<CallContext>,
    },

    /// The registry has the agent, but none of its instances could be reached in time. Nothing was sent.
    #[error("{site}: none of its instances can be reached ({instances} registered)")]
    Unreachable {
        /// Which call.
        site: Box<CallContext>,
        /// How many instances the registry had at the end.
        instances: usize,
        /// What connecting, or a new connection, failed with last; `None` if other calls had found out before.
        source: Option<transport::Error>,
    },

    /// The registry could not say where the agent is. Nothing was sent.
    #[error("{site}: agent cannot be looked up")]
    Registry {
        /// Which call.
        site: Box<CallContext>,
        /// What the registry said, or why it cannot be reached. All calls that waited for the same answer have it.
        source: RegistryError,
    },

    /// The client has been closed. A call was not sent; of a stream, nothing more is read.
    #[error("{site}: the client is closed")]
    ClientClosed {
        /// Which call.
        site: Box<CallContext>,
        /// Whether the agent may have seen the request.
        sent: bool,
    },

    /// The call took longer than it was given. Unless `phase` says that nothing was sent, the agent may have
    /// worked on it.
    #[error("{site}: timed out after {timeout:?} {phase}")]
    Timeout {
        /// Which call.
        site: Box<CallContext>,
        /// How long it was given.
        timeout: Duration,
        /// What it was doing when the time was up.
        phase: Phase,
    },

    /// The connection ended before the answer. The agent may have worked on the request.
    #[error("{site}: connection closed before the answer")]
    ConnectionClosed {
        /// Which call.
        site: Box<CallContext>,
        /// What ended it; `None` if the server closed it properly.
        source: Option<FrameError>,
    },

    /// The server sent something that is no envelope, or one that does not belong here.
    #[error("{site}: server sent an invalid message")]
    InvalidMessage {
        /// Which call.
        site: Box<CallContext>,
        /// What is wrong with it.
        source: ProtocolError,
    },

    /// The server speaks another version of the protocol.
    #[error("{site}: server speaks an unsupported protocol version")]
    UnsupportedVersion {
        /// Which call.
        site: Box<CallContext>,
        /// Which version.
        source: ProtocolError,
    },

    /// The server's answer cannot be decoded.
    #[error("{site}: server sent a malformed payload")]
    MalformedPayload {
        /// Which call.
        site: Box<CallContext>,
        /// What is wrong with it.
        source: ProtocolError,
    },

    /// The server has no agent of that name.
    #[error("{site}: agent not found: {}", error.message)]
    AgentNotFound {
        /// Which call.
        site: Box<CallContext>,
        /// What the server said.
        error: Box<WireError>,
    },

    /// The agent cannot be called now.
    #[error("{site}: agent unavailable: {}", error.message)]
    AgentUnavailable {
        /// Which call.
        site: Box<CallContext>,
        /// What the server said.
        error: Box<WireError>,
    },

    /// The server gave up waiting for its agent.
    #[error("{site}: agent timed out: {}", error.message)]
    AgentTimeout {
        /// Which call.
        site: Box<CallContext>,
        /// What the server said.
        error: Box<WireError>,
    },

    /// The server has no tool of that name.
    #[error("{site}: tool not found: {}", error.message)]
    ToolNotFound {
        /// Which call.
        site: Box<CallContext>,
        /// What the server said.
        error: Box<WireError>,
    },

    /// The tool failed.
    #[error("{site}: tool failed: {}", error.message)]
    ToolFailed {
        /// Which call.
        site: Box<CallContext>,
        /// What the server said.
        error: Box<WireError>,
    },

    /// The server does not know what was asked for. Python's and Go's do not run tools.
    #[error("{site}: not supported by the server: {}", error.message)]
    Unsupported {
        /// Which call.
        site: Box<CallContext>,
        /// What the server said.
        error: Box<WireError>,
    },

    /// The agent failed, or its server did, with any other code.
    #[error("{site}: agent failed: {error}")]
    RemoteExecution {
        /// Which call.
        site: Box<CallContext>,
        /// What the server said: code, message and details.
        error: Box<WireError>,
    },
}

impl Error {
    /// The call's time was up, here or at the agent.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. } | Self::AgentTimeout { .. })
    }

    /// No connection could be made.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self,
            Self::ConnectionFailed { .. } | Self::Unreachable { .. }
        )
    }

    /// The connection was lost.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::ConnectionClosed { .. })
    }

    /// The far side answered, with an error.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.remote().is_some()
    }

    /// The far side broke the protocol.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        self.protocol_error().is_some()
    }

    /// The message itself is at fault; it would fail anywhere.
    #[must_use]
    pub fn is_encode(&self) -> bool {
        matches!(self, Self::Encode { .. })
    }

    /// The agent cannot have seen the request, so that sending it again cannot do harm.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::ConnectionFailed { .. }
                | Self::NotRegistered { .. }
                | Self::Unreachable { .. }
                | Self::Registry { .. }
                | Self::ClientClosed { sent: false, .. }
                | Self::Encode { .. }
                | Self::Timeout {
                    phase: Phase::Resolving | Phase::Queueing | Phase::Connecting,
                    ..
                }
        )
    }

    /// What the far side answered: code, message and details.
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

    fn protocol_error(&self) -> Option<&ProtocolError> {
        match self {
            Self::InvalidMessage { source, .. }
            | Self::UnsupportedVersion { source, .. }
            | Self::MalformedPayload { source, .. } => Some(source),
            _ => None,
        }
    }

    /// The standard code for this error (PROTOCOL 7.1).
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ConnectionFailed { .. } => ErrorCode::CONNECTION_FAILED,
            Self::NotRegistered { .. } => ErrorCode::AGENT_NOT_FOUND,
            Self::Unreachable { .. } => ErrorCode::AGENT_UNAVAILABLE,
            Self::Registry { source, .. } => source.code(),
            Self::Timeout {
                phase: Phase::Resolving | Phase::Queueing | Phase::Connecting,
                ..
            } => ErrorCode::CONNECTION_TIMEOUT,
            Self::Timeout { .. } => ErrorCode::AGENT_TIMEOUT,
            Self::ConnectionClosed { .. } | Self::ClientClosed { .. } => {
                ErrorCode::CONNECTION_CLOSED
            }
            Self::InvalidMessage { .. } => ErrorCode::INVALID_MESSAGE,
            Self::UnsupportedVersion { .. } => ErrorCode::UNSUPPORTED_VERSION,
            Self::MalformedPayload { .. } => ErrorCode::MALFORMED_PAYLOAD,
            Self::Register(error) => error.code(),
            _ => self
                .remote()
                .map_or(ErrorCode::INTERNAL_ERROR, |error| error.code.clone()),
        }
    }

    /// What an agent that fails because of this error tells its own caller.
    pub(crate) fn to_wire_error(&self) -> WireError {
        match self.remote() {
            Some(error) => error.clone(),
            None => WireError::new(self.code(), self.to_string()),
        }
    }

    pub(crate) fn from_remote(site: CallContext, error: WireError) -> Self {
        let (site, error) = (Box::new(site), Box::new(error));
        // Codes cannot stand in patterns, because the set is open.
        if error.code == ErrorCode::AGENT_NOT_FOUND {
            Self::AgentNotFound { site, error }
        } else if error.code == ErrorCode::AGENT_UNAVAILABLE {
            Self::AgentUnavailable { site, error }
        } else if error.code == ErrorCode::AGENT_TIMEOUT {
            Self::AgentTimeout { site, error }
        } else if error.code == ErrorCode::TOOL_NOT_FOUND {
            Self::ToolNotFound { site, error }
        } else if error.code == ErrorCode::TOOL_EXECUTION_FAILED {
            Self::ToolFailed { site, error }
        } else if site.tool.is_some() && is_unknown_method(&error) {
            Self::Unsupported { site, error }
        } else {
            Self::RemoteExecution { site, error }
        }
    }

    pub(crate) fn from_protocol(site: CallContext, source: ProtocolError) -> Self {
        let site = Box::new(site);
        match &source {
            ProtocolError::Unexpected { .. } => Self::InvalidMessage { site, source },
            ProtocolError::Frame(_) => Self::MalformedPayload { site, source },
            ProtocolError::Envelope(error) => match error.fault() {
                DecodeFault::Envelope { .. } => Self::InvalidMessage { site, source },
                DecodeFault::Version { .. } => Self::UnsupportedVersion { site, source },
                _ => Self::MalformedPayload { site, source },
            },
        }
    }

    /// A stream of bytes that ended or broke; an oversize frame is the server's fault instead.
    pub(crate) fn from_broken(site: CallContext, source: Option<FrameError>) -> Self {
        match source {
            Some(source @ FrameError::TooLarge { .. }) => Self::from_protocol(site, source.into()),
            source => Self::ConnectionClosed {
                site: Box::new(site),
                source,
            },
        }
    }

    pub(crate) fn from_write(site: CallContext, source: io::Error) -> Self {
        Self::ConnectionClosed {
            site: Box::new(site),
            source: Some(source.into()),
        }
    }
}

/// What Python's server answers to a method that it does not know, and Go's (PROTOCOL 7.3).
fn is_unknown_method(error: &WireError) -> bool {
    error.code == ErrorCode::NOT_IMPLEMENTED
        || error.code == ErrorCode::INVALID_MESSAGE && error.details.contains_key("method")
}
