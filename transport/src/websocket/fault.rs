//! The violations of WebSocket by a peer.

use std::io;

/// A violation of the WebSocket protocol by the peer, or another reason to close a connection.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketFault {
    /// A reserved bit is set, although no extension was negotiated.
    #[error("reserved bits must be 0")]
    ReservedBits,
    /// The opcode is unknown.
    #[error("invalid opcode")]
    InvalidOpcode,
    /// A client did not mask a frame, or a server masked one.
    #[error("incorrect masking")]
    IncorrectMasking,
    /// A control frame is fragmented.
    #[error("fragmented control frame")]
    FragmentedControlFrame,
    /// The payload of a control frame exceeds 125 bytes.
    #[error("control frame too long")]
    ControlFrameTooLong,
    /// The length of a frame exceeds 2^63.
    #[error("invalid length")]
    InvalidLength,
    /// A continuation frame continues nothing.
    #[error("unexpected continuation frame")]
    UnexpectedContinuation,
    /// A new message begins before the fragments of the previous message have ended.
    #[error("expected a continuation frame")]
    ExpectedContinuation,
    /// The payload of a close frame is malformed.
    #[error("invalid close frame")]
    InvalidClose,
    /// A text message is not UTF-8.
    #[error("invalid UTF-8")]
    InvalidText,
    /// A message exceeds the limit.
    #[error("frame with {len} bytes exceeds limit of {max} bytes")]
    TooLarge {
        /// The known part of the size of the message.
        len: u64,
        /// The limit.
        max: usize,
    },
    /// The memory for fragmented messages is used up.
    #[error("no memory for fragmented messages")]
    NoMemory,
    /// The fragments of a message arrived too slowly.
    #[error("a message arrived too slowly or not at all")]
    TooSlow,
    /// The peer did not answer a ping.
    #[error("keepalive ping timeout")]
    PingTimeout,
}

impl WebSocketFault {
    /// Returns the code of the close frame (RFC 6455, section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::InvalidText => 1007,
            Self::TooLarge { .. } => 1009,
            Self::NoMemory => 1013,
            Self::TooSlow => 1008,
            Self::PingTimeout => 1011,
            _ => 1002,
        }
    }
}

impl From<WebSocketFault> for io::Error {
    fn from(fault: WebSocketFault) -> Self {
        let kind = match fault {
            WebSocketFault::PingTimeout | WebSocketFault::TooSlow => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, fault)
    }
}
