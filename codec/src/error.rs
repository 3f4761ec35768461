use std::{fmt, io};

use crate::{EnvelopeType, ErrorCode, Map, RequestId, Value, WireError};

/// A byte stream that is not a sequence of frames. It cannot be read further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A payload exceeds the limit of its direction (PROTOCOL 1.3).
    #[error(
        "frame of {len} bytes exceeds the limit of {max}; raise the frame limit on both sides or send less"
    )]
    TooLarge {
        /// The payload's length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame, after {have} of {want} bytes")]
    Truncated {
        /// Bytes of the frame that arrived, header included.
        have: usize,
        /// Bytes of the whole frame as far as is known, header included.
        want: usize,
    },
    /// Reading or writing failed.
    #[error("reading or writing frames failed")]
    Io(#[from] io::Error),
}

/// An envelope that cannot be put on the wire. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// JSON has no bytes (PROTOCOL 4.9).
    #[error("bytes have no JSON form; encode them as text, for example in base64")]
    BytesInJson,
    /// MessagePack has no integers beyond 64 bits (PROTOCOL 10.3).
    #[error(
        "integer is beyond 64 bits, which MessagePack cannot carry; send it as text or use JSON"
    )]
    IntegerTooLarge,
    /// The value is nested deeper than any reader accepts (PROTOCOL 4.8).
    #[error("value is nested deeper than {max} levels")]
    TooDeep {
        /// The deepest nesting that is written.
        max: usize,
    },
    /// A message must have a role (PROTOCOL 3.2).
    #[error("message has an empty role")]
    EmptyRole,
    /// A tool result that is not a success must say why (PROTOCOL 3.4).
    #[error("tool result is a failure without an error text")]
    MissingToolError,
    /// A request of a tool must name it (PROTOCOL 2.6).
    #[error("tool has no name")]
    EmptyToolName,
    /// The encoded payload does not fit a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A `Framed` of tokio-util reports failures to write through the encoder's error.
impl From<io::Error> for EncodeError {
    fn from(error: io::Error) -> Self {
        Self::Frame(error.into())
    }
}

/// A payload that is not an envelope.
///
/// The frame around it was sound, so the connection can go on. [`to_wire_error`](Self::to_wire_error)
/// gives what a server answers (PROTOCOL 7.3).
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct DecodeError {
    id: Option<RequestId>,
    kind: Option<EnvelopeType>,
    fault: Box<DecodeFault>,
}

impl DecodeError {
    pub(crate) fn new(
        id: Option<RequestId>,
        kind: Option<EnvelopeType>,
        fault: DecodeFault,
    ) -> Self {
        Self {
            id,
            kind,
            fault: Box::new(fault),
        }
    }

    /// The id of the envelope, if it could be read.
    #[must_use]
    pub fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// The type of the envelope, if its payload is all that is wrong.
    #[must_use]
    pub fn envelope_type(&self) -> Option<EnvelopeType> {
        self.kind
    }

    /// What is wrong.
    #[must_use]
    pub fn fault(&self) -> &DecodeFault {
        &self.fault
    }

    /// The code that answers this (PROTOCOL 7.3).
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match &*self.fault {
            DecodeFault::Syntax { .. }
            | DecodeFault::Payload { .. }
            | DecodeFault::Message { .. } => ErrorCode::MALFORMED_PAYLOAD,
            DecodeFault::Envelope { .. } => ErrorCode::INVALID_MESSAGE,
            DecodeFault::Version { .. } => ErrorCode::UNSUPPORTED_VERSION,
        }
    }

    /// The error payload that answers this (PROTOCOL 7.3).
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
            _ => {}
        }
        WireError::new(self.code(), self.to_string()).with_details(details)
    }
}

/// What is wrong with a payload.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum DecodeFault {
    /// Not text of the format at all (PROTOCOL 4.8).
    #[error("Failed to decode {format}: {reason} at byte {offset}")]
    Syntax {
        /// The format that was expected.
        format: &'static str,
        /// What was found.
        reason: &'static str,
        /// Where, from the start of the payload.
        offset: usize,
    },
    /// Not an envelope (PROTOCOL 2).
    #[error("Invalid envelope: {reason}")]
    Envelope {
        /// Which rule is broken.
        reason: String,
    },
    /// An envelope of another protocol version.
    #[error("Unsupported protocol version: {}", version.to_plain_text())]
    Version {
        /// The version that it names.
        version: Value,
    },
    /// The payload object lacks what its type requires, or has it with the wrong type.
    #[error("Invalid payload: {reason}")]
    Payload {
        /// Which rule is broken.
        reason: String,
    },
    /// The message inside breaks PROTOCOL 3.
    #[error("Failed to decode message: {reason}")]
    Message {
        /// Which rule is broken.
        reason: String,
        /// The message as it came.
        data: Value,
    },
}

/// Leaves the message out, as [`Message`](crate::Message) does.
impl fmt::Debug for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecodeFault({self})")
    }
}
