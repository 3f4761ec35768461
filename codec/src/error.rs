//! The errors of framing, encoding and decoding.

use std::{fmt, io};

use agentwire_text::Untrusted;

use crate::{
    EnvelopeType, ErrorCode, ForeignProtocol, Map, RequestId, Value, WireError,
    repeated::repeatable_text,
};

/// A framing error, after which the byte stream cannot be read any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The payload exceeds the limit for its direction ([PROTOCOL 1.3]).
    ///
    /// [PROTOCOL 1.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#1-frames
    #[error(
        "frame of {len} bytes exceeds the limit of {max}; raise the frame limit on both sides or send less"
    )]
    TooLarge {
        /// The length of the payload in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The peer uses a different protocol. The first bytes of the peer, read as a length, exceed
    /// the limit.
    #[error("{}", Explained(*protocol))]
    ForeignProtocol {
        /// The protocol that the peer appears to use.
        protocol: ForeignProtocol,
        /// The first four bytes, read as a length.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame, after {have} of {want} bytes")]
    Truncated {
        /// The number of bytes of the frame that arrived, including the header.
        have: usize,
        /// The length of the whole frame in bytes, including the header. If the header is
        /// incomplete, this is the length of the header.
        want: usize,
    },
    /// Reading from or writing to the stream failed.
    #[error("reading or writing frames failed")]
    Io(#[from] io::Error),
}

impl FrameError {
    /// Returns true if the peer sent the start of a frame that this side never accepts. The length
    /// exceeds the limit, or the bytes belong to a different protocol.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::ForeignProtocol { .. })
    }
}

/// Displays the explanation of a detected protocol.
struct Explained(ForeignProtocol);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.explain(f)
    }
}

/// The reason why an envelope cannot be encoded. No byte of the envelope is sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value contains bytes, which JSON cannot represent ([PROTOCOL 4.9]).
    ///
    /// [PROTOCOL 4.9]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text
    #[error("bytes have no JSON form; encode them as text, for example in base64")]
    BytesInJson,
    /// The value contains an integer beyond 64 bits, which MessagePack cannot represent ([PROTOCOL
    /// 10.3]).
    ///
    /// [PROTOCOL 10.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#10-messagepack
    #[error(
        "integer is beyond 64 bits, which MessagePack cannot carry; send it as text or use JSON"
    )]
    IntegerTooLarge,
    /// The value is nested deeper than decoders accept ([PROTOCOL 4.8]).
    ///
    /// [PROTOCOL 4.8]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text
    #[error("value is nested deeper than {max} levels")]
    TooDeep {
        /// The maximum number of levels.
        max: usize,
    },
    /// The message has an empty role ([PROTOCOL 3.2]).
    ///
    /// [PROTOCOL 3.2]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
    #[error("message has an empty role")]
    EmptyRole,
    /// The tool result is a failure but has no error text ([PROTOCOL 3.4]).
    ///
    /// [PROTOCOL 3.4]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
    #[error("tool result is a failure without an error text")]
    MissingToolError,
    /// The request to run a tool does not name the tool ([PROTOCOL 2.6]).
    ///
    /// [PROTOCOL 2.6]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
    #[error("tool has no name")]
    EmptyToolName,
    /// The encoded payload does not fit into a frame, or an I/O error occurred.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Converts an I/O error. `Framed` of tokio-util requires this conversion for the error type of an
/// encoder.
impl From<io::Error> for EncodeError {
    fn from(error: io::Error) -> Self {
        Self::Frame(error.into())
    }
}

/// The error for a payload that is not a valid envelope.
///
/// The frame was intact, so the connection remains usable. [`to_wire_error`](Self::to_wire_error)
/// returns the error that a server sends in reply ([PROTOCOL 7.3]).
///
/// [PROTOCOL 7.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct DecodeError {
    id: Option<RequestId>,
    kind: Option<EnvelopeType>,
    fault: Box<DecodeFault>,
}

impl DecodeError {
    /// Creates the error for a payload in a format that another crate reads. This method is exempt
    /// from semver.
    #[doc(hidden)]
    #[must_use]
    pub fn new(id: Option<RequestId>, kind: Option<EnvelopeType>, fault: DecodeFault) -> Self {
        Self {
            id,
            kind,
            fault: Box::new(fault),
        }
    }

    /// Returns the id of the envelope, or `None` if the id could not be read.
    #[must_use]
    pub fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// Returns the type of the envelope if the envelope is valid and only its payload is not.
    #[must_use]
    pub fn envelope_type(&self) -> Option<EnvelopeType> {
        self.kind
    }

    /// Returns what is wrong with the payload.
    #[must_use]
    pub fn fault(&self) -> &DecodeFault {
        &self.fault
    }

    /// Returns what is wrong with the payload, without the id and the type.
    #[must_use]
    pub fn into_fault(self) -> DecodeFault {
        *self.fault
    }

    /// Returns the error code that a server sends in reply ([PROTOCOL 7.3]).
    ///
    /// [PROTOCOL 7.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match &*self.fault {
            DecodeFault::Syntax { .. }
            | DecodeFault::Memory { .. }
            | DecodeFault::Payload { .. }
            | DecodeFault::Message { .. } => ErrorCode::MALFORMED_PAYLOAD,
            DecodeFault::Envelope { .. } => ErrorCode::INVALID_MESSAGE,
            DecodeFault::Version { .. } => ErrorCode::UNSUPPORTED_VERSION,
        }
    }

    /// Returns the error that a server sends in reply ([PROTOCOL 7.3]).
    ///
    /// [PROTOCOL 7.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
    #[must_use]
    pub fn to_wire_error(&self) -> WireError {
        let mut details = Map::new();
        match &*self.fault {
            DecodeFault::Version { version } => {
                details.insert("version", version.clone());
                details.insert("supported", vec![Value::from(crate::PROTOCOL_VERSION)]);
            }
            DecodeFault::Message { data, .. } => {
                details.insert("data", data.clone());
            }
            DecodeFault::Memory { limit } => {
                details.insert("reason", "memory");
                details.insert("limit", *limit);
            }
            _ => {}
        }
        WireError::new(self.code(), self.fault.message()).with_details(details)
    }
}

/// The reason why a payload is not a valid envelope.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DecodeFault {
    /// The payload is not valid in its format ([PROTOCOL 4.8]).
    ///
    /// [PROTOCOL 4.8]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text
    #[error("Failed to decode {format}: {reason} at byte {offset}")]
    Syntax {
        /// The format that was expected.
        format: &'static str,
        /// A description of the syntax error.
        reason: &'static str,
        /// The position of the error, in bytes from the start of the payload.
        offset: usize,
    },
    /// The values take more memory than the reader allows ([PROTOCOL 1.8]).
    ///
    /// [PROTOCOL 1.8]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#1-frames
    #[error("The values take more than {limit} bytes of memory; send fewer of them at a time")]
    Memory {
        /// The limit in bytes.
        limit: usize,
    },
    /// The payload is well-formed but is not an envelope ([PROTOCOL 2]).
    ///
    /// [PROTOCOL 2]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
    #[error("Invalid envelope: {reason}")]
    Envelope {
        /// A description of the violated rule.
        reason: String,
    },
    /// The envelope has an unsupported protocol version.
    #[error("Unsupported protocol version: {}", Untrusted(version.to_plain_text()))]
    Version {
        /// The protocol version of the envelope, or a description of it if the value is large
        /// ([PROTOCOL 7.5]).
        ///
        /// [PROTOCOL 7.5]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
        version: Value,
    },
    /// The payload of the envelope lacks a required key or has a value of the wrong type.
    #[error("Invalid payload: {reason}")]
    Payload {
        /// A description of the violated rule.
        reason: String,
    },
    /// The message violates a rule of [PROTOCOL 3].
    ///
    /// [PROTOCOL 3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
    #[error("Failed to decode message: {reason}")]
    Message {
        /// A description of the violated rule.
        reason: String,
        /// The received message, or a description of it if the message is large ([PROTOCOL 7.5]).
        ///
        /// [PROTOCOL 7.5]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
        data: Value,
    },
}

impl DecodeFault {
    /// Returns the text for the error reply, without escapes.
    fn message(&self) -> String {
        match self {
            Self::Version { version } => {
                let version = version.to_plain_text();
                format!(
                    "Unsupported protocol version: {}",
                    repeatable_text(&version)
                )
            }
            other => other.to_string(),
        }
    }
}

/// Formats the reason but omits the content of the message.
impl fmt::Debug for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecodeFault({self})")
    }
}
