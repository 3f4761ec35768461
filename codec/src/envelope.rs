use std::fmt;

use crate::{Map, Message, RequestId, SentAt, ToolResult, Value, WireError};

/// The only protocol version there is (PROTOCOL 2.2).
pub const PROTOCOL_VERSION: &str = "1.0";

/// One unit of conversation: what a frame carries (PROTOCOL 2).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Envelope {
    /// What ties an answer to its request.
    pub id: RequestId,
    /// When it was written. It means nothing to the protocol and may be missing.
    pub timestamp: Option<SentAt>,
    /// What it says.
    pub body: Body,
}

impl Envelope {
    /// An envelope written now.
    #[must_use]
    pub fn new(id: RequestId, body: impl Into<Body>) -> Self {
        Self {
            id,
            timestamp: Some(SentAt::now()),
            body: body.into(),
        }
    }
}

/// The type of an envelope and its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// Asks an agent or a tool for something.
    Request(Request),
    /// Answers a request.
    Response(Response),
    /// Answers a request, or ends a stream, with a failure.
    Error(WireError),
    /// Tells a registry that an agent is alive.
    Heartbeat(Heartbeat),
    /// Tells a registry of an agent.
    Register(Register),
    /// Takes an agent out of a registry.
    Unregister(Unregister),
    /// One part of the answer to a streaming request.
    StreamChunk(Message),
    /// The end of the answer to a streaming request.
    StreamEnd,
}

impl Body {
    /// The type, as the envelope names it.
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
        }
    }
}

/// The `type` of an envelope (PROTOCOL 2.3).
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

    /// The type as it is written.
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

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// One message for one answer.
    Process(Call),
    /// One message for a stream of answers.
    Stream(Call),
    /// One run of a tool.
    Execute(Execute),
    /// A method that this version does not know, with its payload as it came.
    Other(Map),
}

/// A message for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The agent that is meant. Empty if the caller named none.
    pub agent_name: String,
    /// What it is asked.
    pub message: Message,
}

impl Call {
    /// A message for the agent of that name, which may be empty.
    #[must_use]
    pub fn new(agent_name: impl Into<String>, message: Message) -> Self {
        Self {
            agent_name: agent_name.into(),
            message,
        }
    }
}

/// The arguments for one run of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Execute {
    /// The tool that is meant.
    pub tool_name: String,
    /// Its arguments by name.
    pub kwargs: Map,
}

impl Execute {
    /// One run of the tool of that name.
    #[must_use]
    pub fn new(tool_name: impl Into<String>, kwargs: Map) -> Self {
        Self {
            tool_name: tool_name.into(),
            kwargs,
        }
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// An agent's answer.
    Message(Message),
    /// A tool's result.
    Tool(ToolResult),
    /// The answer to another method, with its payload as it came. One with a `message` or a `result` does not come
    /// back as this.
    Other(Map),
}

/// A sign of life of a registered agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Heartbeat {
    /// The agent that is alive.
    pub agent_name: String,
    /// How it is: `healthy`.
    pub status: String,
    /// Where it can be called, to tell it from others of its name.
    pub endpoint: Option<String>,
    /// Its instance id, to tell it from whoever else may be there.
    pub instance: Option<String>,
}

impl Heartbeat {
    /// A sign of life of a healthy agent.
    #[must_use]
    pub fn healthy(agent_name: impl Into<String>) -> Self {
        Self {
            agent_name: agent_name.into(),
            status: "healthy".to_owned(),
            endpoint: None,
            instance: None,
        }
    }
}

/// What a registry is told of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Register {
    /// The name to find it by.
    pub agent_name: String,
    /// What it can do.
    pub capabilities: Map,
    /// Where to call it.
    pub endpoint: String,
    /// What there is to say about it.
    pub metadata: Map,
    /// Its semantic version, if it has one.
    pub version: Option<String>,
    /// What tells it from whoever else was or will be at the same endpoint.
    pub instance: Option<String>,
}

impl Register {
    /// An agent and where to call it.
    #[must_use]
    pub fn new(agent_name: impl Into<String>, endpoint: impl Into<String>) -> Self {
        Self {
            agent_name: agent_name.into(),
            capabilities: Map::new(),
            endpoint: endpoint.into(),
            metadata: Map::new(),
            version: None,
            instance: None,
        }
    }
}

/// An agent that goes away.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unregister {
    /// The agent, unless the sender left it out.
    pub agent_name: Option<String>,
    /// Where it could be called, to tell it from others of its name.
    pub endpoint: Option<String>,
    /// Its instance id, to tell it from whoever else may be there.
    pub instance: Option<String>,
}

impl Unregister {
    /// That agent goes away.
    #[must_use]
    pub fn new(agent_name: impl Into<String>) -> Self {
        Self {
            agent_name: Some(agent_name.into()),
            endpoint: None,
            instance: None,
        }
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
    Register Register
    Unregister Unregister
}

impl Request {
    /// The method, as the payload names it. Of an unknown one, whatever stands there.
    #[must_use]
    pub fn method(&self) -> Value {
        match self {
            Self::Process(_) => "process".into(),
            Self::Stream(_) => "stream".into(),
            Self::Execute(_) => "execute".into(),
            Self::Other(payload) => payload.get("method").cloned().unwrap_or_default(),
        }
    }
}
