//! Envelopes and their payloads.

use std::fmt;

use crate::{Map, Message, RequestId, SentAt, ToolResult, Value, WireError};

/// The content of a frame: a request, a reply, or a notice to a registry ([PROTOCOL 2]).
///
/// ```
/// use agentwire_codec::{Envelope, Format, Message, RequestId, Response};
///
/// let message = Message::user("\u{1f600}".repeat(100));
/// let envelope = Envelope::new(RequestId::random(), Response::Message(message));
/// let mut frame = Vec::new();
/// // As ASCII, the text takes 1,200 bytes.
/// Format::Json.put_frame(&envelope, 700, &mut frame)?;
/// assert_eq!(Format::Json.decode(&frame[4..]).unwrap(), envelope);
/// # Ok::<(), agentwire_codec::EncodeError>(())
/// ```
///
/// [PROTOCOL 2]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// The id that a request and all replies to it share.
    pub id: RequestId,
    /// The time at which the envelope was written. The timestamp is optional and has no meaning in
    /// the protocol.
    pub timestamp: Option<SentAt>,
    /// The type of the envelope and its payload.
    pub body: Body,
}

impl Envelope {
    /// Creates an envelope with the current time or, for a [`RawBody`], with the timestamp of the
    /// body.
    #[must_use]
    pub fn new(id: RequestId, body: impl Into<Body>) -> Self {
        let body = body.into();
        let timestamp = match &body {
            Body::Raw(raw) => raw.timestamp.clone(),
            _ => Some(SentAt::now()),
        };
        Self {
            id,
            timestamp,
            body,
        }
    }
}

/// The type of an envelope together with the payload of that type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// A request to an agent or a tool.
    Request(Request),
    /// The reply to a request.
    Response(Response),
    /// An error, sent as the reply to a request or to end a stream.
    Error(WireError),
    /// Renews the registration of an agent.
    Heartbeat(Heartbeat),
    /// Registers an agent.
    Register(Box<Register>),
    /// Removes an agent from a registry.
    Unregister(Unregister),
    /// One chunk of the reply to a streaming request.
    StreamChunk(Message),
    /// The end of the answer to a streaming request.
    StreamEnd,
    /// A body of any type that contains all received keys. Only [`Format::decode_raw`] returns this
    /// variant.
    ///
    /// [`Format::decode_raw`]: crate::Format::decode_raw
    Raw(Box<RawBody>),
}

impl Body {
    /// Returns the type of the envelope.
    #[must_use]
    pub fn kind(&self) -> EnvelopeType {
        match self {
            Self::Request(_) => EnvelopeType::Request,
            Self::Response(_) => EnvelopeType::Response,
            Self::Error(_) => EnvelopeType::Error,
            Self::Heartbeat(_) => EnvelopeType::Heartbeat,
            Self::Register(_) => EnvelopeType::Register,
            Self::Unregister(_) => EnvelopeType::Unregister,
            Self::StreamChunk(_) => EnvelopeType::StreamChunk,
            Self::StreamEnd => EnvelopeType::StreamEnd,
            Self::Raw(raw) => raw.kind,
        }
    }
}

/// A body that contains all received keys in the order in which they were received.
///
/// A program that forwards envelopes sends this body unchanged ([PROTOCOL 2.10]).
///
/// ```
/// use agentwire_codec::{Body, EnvelopeType, Format};
///
/// let payload = br#"{"version": "1.0", "type": "request", "id": "7", "payload": {"method": "dance"}}"#;
/// let envelope = Format::Json.decode_raw(payload)?;
/// let Body::Raw(raw) = envelope.body else { unreachable!() };
/// assert_eq!(raw.kind, EnvelopeType::Request);
/// assert_eq!(raw.payload["method"], "dance");
/// # Ok::<(), agentwire_codec::DecodeError>(())
/// ```
///
/// [PROTOCOL 2.10]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RawBody {
    /// The type of the envelope.
    pub kind: EnvelopeType,
    /// The payload, which was only checked to be an object.
    pub payload: Map,
    /// The time at which the envelope was written.
    pub timestamp: Option<SentAt>,
    /// The keys of the envelope that this version does not know, which are encoded after the
    /// payload.
    pub unknown: Map,
}

impl RawBody {
    /// Creates a body with the given payload and the current time, without unknown keys.
    #[must_use]
    pub fn new(kind: EnvelopeType, payload: Map) -> Self {
        Self {
            kind,
            payload,
            timestamp: Some(SentAt::now()),
            unknown: Map::new(),
        }
    }

    /// Creates a body without a timestamp.
    pub(crate) fn received(kind: EnvelopeType, payload: Map) -> Self {
        Self {
            kind,
            payload,
            timestamp: None,
            unknown: Map::new(),
        }
    }
}

impl From<RawBody> for Body {
    fn from(raw: RawBody) -> Self {
        Self::Raw(Box::new(raw))
    }
}

/// The `type` of an envelope ([PROTOCOL 2.3]).
///
/// [PROTOCOL 2.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EnvelopeType {
    /// `request`
    Request,
    /// `response`
    Response,
    /// `error`
    Error,
    /// `heartbeat`
    Heartbeat,
    /// `register`
    Register,
    /// `unregister`
    Unregister,
    /// `stream_chunk`
    StreamChunk,
    /// `stream_end`
    StreamEnd,
}

impl EnvelopeType {
    const ALL: [Self; 8] = [
        Self::Request,
        Self::Response,
        Self::Error,
        Self::Heartbeat,
        Self::Register,
        Self::Unregister,
        Self::StreamChunk,
        Self::StreamEnd,
    ];

    /// Returns the name of the type on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Error => "error",
            Self::Heartbeat => "heartbeat",
            Self::Register => "register",
            Self::Unregister => "unregister",
            Self::StreamChunk => "stream_chunk",
            Self::StreamEnd => "stream_end",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for EnvelopeType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request to an agent or a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Sends a message and expects one reply.
    Process(Call),
    /// Sends a message and expects a stream of replies.
    Stream(Call),
    /// Runs a tool.
    Execute(Execute),
    /// The whole payload of a request with a method that this version does not know.
    Other(Map),
}

impl Request {
    /// Returns the method that the payload names, or `None` if the payload has no method or the
    /// method is not text.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::Process(_) => Some("process"),
            Self::Stream(_) => Some("stream"),
            Self::Execute(_) => Some("execute"),
            Self::Other(payload) => payload.get("method").and_then(Value::as_str),
        }
    }
}

/// How a request is to be delivered ([PROTOCOL 16]). Peers that do not know these keys ignore them.
///
/// [PROTOCOL 16]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#16-keys-of-our-own
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// The time that the caller is still willing to wait, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// A text that repetitions of the request have in common, and other requests do not have.
    pub idempotency_key: Option<String>,
}

impl Delivery {
    /// Returns whether a text can be an idempotency key, which has 1 to 255 bytes.
    #[must_use]
    pub fn is_usable_key(key: &str) -> bool {
        (1..=MAX_KEY_LEN).contains(&key.len())
    }
}

/// The maximum length of an idempotency key, in bytes. Servers keep the keys.
const MAX_KEY_LEN: usize = 255;

/// A message to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The name of the agent, or an empty string if the caller did not name an agent.
    pub agent_name: String,
    /// The message.
    pub message: Message,
    /// How the request is to be delivered.
    pub delivery: Delivery,
}

impl Call {
    /// Creates a call to the agent with this name. The name may be empty.
    #[must_use]
    pub fn new(agent_name: impl Into<String>, message: Message) -> Self {
        Self {
            agent_name: agent_name.into(),
            message,
            delivery: Delivery::default(),
        }
    }
}

/// A request to run a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Execute {
    /// The name of the tool.
    pub tool_name: String,
    /// The arguments, keyed by name.
    pub kwargs: Map,
    /// Information about the request, such as credentials ([PROTOCOL 14]). Tools do not see it.
    ///
    /// [PROTOCOL 14]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#14-security
    pub metadata: Map,
    /// How the request is to be delivered.
    pub delivery: Delivery,
}

impl Execute {
    /// Creates a request to run the tool with this name.
    #[must_use]
    pub fn new(tool_name: impl Into<String>, kwargs: Map) -> Self {
        Self {
            tool_name: tool_name.into(),
            kwargs,
            metadata: Map::new(),
            delivery: Delivery::default(),
        }
    }
}

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// The reply from an agent.
    Message(Message),
    /// The result of a tool.
    Tool(ToolResult),
    /// The whole payload of the reply to any other method. A payload that has a `message` or
    /// `result` key is never decoded as this variant.
    Other(Map),
}

/// A heartbeat, which renews the registration of an agent.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// The name of the agent.
    pub agent_name: String,
    /// The health of the agent, such as `healthy`.
    pub status: String,
    /// The endpoint of the agent, which distinguishes it from other agents with the same name.
    pub endpoint: Option<String>,
    /// The instance id of the agent, which distinguishes it from other agents with the same name.
    pub instance: Option<String>,
    /// The secret that proves the ownership of the registration ([PROTOCOL 12.13]).
    ///
    /// [PROTOCOL 12.13]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    pub owner: Option<String>,
    /// Information about the request, such as credentials ([PROTOCOL 14]).
    ///
    /// [PROTOCOL 14]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#14-security
    pub metadata: Map,
}

impl Heartbeat {
    /// Creates a heartbeat for a healthy agent.
    #[must_use]
    pub fn healthy(agent_name: impl Into<String>) -> Self {
        Self {
            agent_name: agent_name.into(),
            status: "healthy".to_owned(),
            endpoint: None,
            instance: None,
            owner: None,
            metadata: Map::new(),
        }
    }
}

/// A request to register an agent.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Register {
    /// The name under which callers find the agent.
    pub agent_name: String,
    /// The capabilities of the agent.
    pub capabilities: Map,
    /// The endpoint at which callers reach the agent.
    pub endpoint: String,
    /// Additional information about the agent.
    pub metadata: Map,
    /// The semantic version of the agent, or `None` if the agent has no version.
    pub version: Option<String>,
    /// The instance id, which distinguishes the agent from any earlier or later agent at the same
    /// endpoint.
    pub instance: Option<String>,
    /// The machine of the endpoint, if the endpoint means something else on other machines
    /// ([PROTOCOL 12.14]).
    ///
    /// [PROTOCOL 12.14]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    pub machine: Option<String>,
    /// The secret that proves the ownership of the registration ([PROTOCOL 12.13]).
    ///
    /// [PROTOCOL 12.13]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    pub owner: Option<String>,
}

impl Register {
    /// Creates a request to register the agent with this name at this endpoint.
    #[must_use]
    pub fn new(agent_name: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            agent_name: agent_name.into(),
            capabilities: Map::new(),
            endpoint: endpoint.into(),
            metadata: Map::new(),
            version: None,
            instance: None,
            machine: None,
            owner: None,
        }
    }
}

/// A request to remove an agent from a registry.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unregister {
    /// The name of the agent, or `None` if the sender omitted it.
    pub agent_name: Option<String>,
    /// The endpoint of the agent, which distinguishes it from other agents with the same name.
    pub endpoint: Option<String>,
    /// The instance id of the agent, which distinguishes it from other agents with the same name.
    pub instance: Option<String>,
    /// The secret that proves the ownership of the registration ([PROTOCOL 12.13]).
    ///
    /// [PROTOCOL 12.13]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#12-registries
    pub owner: Option<String>,
    /// Information about the request, such as credentials ([PROTOCOL 14]).
    ///
    /// [PROTOCOL 14]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#14-security
    pub metadata: Map,
}

impl Unregister {
    /// Creates a request to remove the agent with this name.
    #[must_use]
    pub fn new(agent_name: impl Into<String>) -> Self {
        Self {
            agent_name: Some(agent_name.into()),
            endpoint: None,
            instance: None,
            owner: None,
            metadata: Map::new(),
        }
    }
}

/// Omits the secret `owner`, and the metadata of requests that may contain credentials.
macro_rules! debug_without_owner {
    ($($payload:ident { $($field:ident)* })*) => {$(
        impl fmt::Debug for $payload {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($payload))
                    $(.field(stringify!($field), &self.$field))*
                    .finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_owner! {
    Heartbeat { agent_name status endpoint instance }
    Register { agent_name capabilities endpoint metadata version instance machine }
    Unregister { agent_name endpoint instance }
}

impl From<Register> for Body {
    fn from(register: Register) -> Self {
        Self::Register(Box::new(register))
    }
}

macro_rules! into_body {
    ($($payload:ident $variant:ident)*) => {$(
        impl From<$payload> for Body {
            fn from(payload: $payload) -> Self {
                Self::$variant(payload)
            }
        }
    )*};
}

into_body! {
    Request Request
    Response Response
    WireError Error
    Heartbeat Heartbeat
    Unregister Unregister
}

/// The only version of the protocol ([PROTOCOL 2.2]).
///
/// [PROTOCOL 2.2]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#2-envelopes
pub const PROTOCOL_VERSION: &str = "1.0";
