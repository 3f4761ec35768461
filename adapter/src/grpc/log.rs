//! Shows the messages of calls as JSON in the log of frames.

use std::fmt::Display;

use agentwire_codec::{DEFAULT_MEMORY_LIMIT, DecodeError, Envelope, Format};
use agentwire_proto::{Request, Response, Rpc, StreamChunk, decode};

use super::reader::PREFIX_LEN;
use crate::connection::frame_log::{Direction, log_as_json};

/// What a message is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind<'a> {
    Request(Rpc),
    /// The answer to a request with this method, which is empty if it is not known.
    Response(&'a str),
    Chunk,
}

impl Kind<'_> {
    fn decode(self, message: &[u8]) -> Result<Envelope, DecodeError> {
        let max = DEFAULT_MEMORY_LIMIT;
        match self {
            Self::Request(rpc) => decode::<Request>(message, max)?.0.into_envelope(rpc),
            Self::Response(method) => decode::<Response>(message, max)?.0.into_envelope(method),
            Self::Chunk => decode::<StreamChunk>(message, max)?.0.into_envelope(),
        }
    }

    fn to_json(self, message: &[u8]) -> String {
        let envelope = match self.decode(message) {
            Ok(envelope) => envelope,
            Err(error) => return format!("(invalid protobuf: {error})"),
        };
        let mut json = Vec::new();
        match Format::Json.encode(&envelope, &mut json) {
            Ok(()) => String::from_utf8_lossy(&json).into_owned(),
            Err(error) => format!("(cannot be shown: {error})"),
        }
    }
}

/// Logs a message that was received.
pub(crate) fn log_received(peer: &dyn Display, kind: Kind<'_>, message: &[u8]) {
    log(Direction::Received, peer, kind, message);
}

/// Logs a message that is sent, which begins with its prefix.
pub(crate) fn log_sent(peer: &dyn Display, kind: Kind<'_>, framed: &[u8]) {
    let message = framed.get(PREFIX_LEN..).unwrap_or_default();
    log(Direction::Sent, peer, kind, message);
}

fn log(direction: Direction, peer: &dyn Display, kind: Kind<'_>, message: &[u8]) {
    log_as_json(direction, peer, "protobuf", message.len(), || {
        kind.to_json(message)
    });
}
