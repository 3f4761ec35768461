//! The reasons why a WebSocket connection cannot be opened, or was closed by its server.

use std::io;

use agentwire_text::Untrusted;

/// The reason why a WebSocket connection cannot be opened, or why its server has closed it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// The server answered the request with another status than 101, for example 401 or 404.
    #[non_exhaustive]
    #[error("the server refused the WebSocket with status {status}{}", Text(body))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The start of the body.
        body: String,
    },
    /// The server accepted the request with the wrong `Sec-WebSocket-Accept`, so it does not speak
    /// WebSocket or repeats an old answer.
    #[error("the server answered with a wrong Sec-WebSocket-Accept")]
    WrongAccept,
    /// The server chose an extension or a subprotocol that was not offered.
    #[error("the server chose an extension or a subprotocol that was not offered")]
    UnexpectedExtension,
    /// The answer of the server is not HTTP, or its header is too long.
    #[error("the server did not answer in HTTP")]
    NotHttp,
    /// The connection ended during the handshake.
    #[error("the peer closed the connection during the WebSocket handshake")]
    Closed,
    /// A client sent a request that is not a valid WebSocket handshake.
    #[error("the request is no WebSocket handshake: {0}")]
    BadRequest(&'static str),
    /// The server closed an open connection with a code that is not an ordinary end, such as 1009
    /// for a message that is too large. The call in flight fails with this error as its source,
    /// inside an [`io::Error`].
    #[non_exhaustive]
    #[error("the server closed the WebSocket with code {code}{}", Text(reason))]
    ClosedBy {
        /// The code of the close frame (RFC 6455, section 7.4.1).
        code: u16,
        /// The reason that the server gave, which may be empty.
        reason: String,
    },
}

impl WebSocketError {
    /// Returns whether opening the connection again may succeed later.
    #[doc(hidden)]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 502..=504),
            Self::Closed => true,
            _ => false,
        }
    }
}

impl From<WebSocketError> for io::Error {
    fn from(error: WebSocketError) -> Self {
        let kind = match error {
            WebSocketError::Refused { .. } => io::ErrorKind::PermissionDenied,
            WebSocketError::Closed => io::ErrorKind::UnexpectedEof,
            WebSocketError::ClosedBy { .. } => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Shows the text of a peer after a colon, or nothing.
struct Text<'a>(&'a str);

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            "" => Ok(()),
            text => write!(f, ": {:?}", Untrusted(text)),
        }
    }
}
