//! The events that an observer learns of.

use agentwire_codec::{ErrorCode, RequestId};
use agentwire_transport::{Endpoint, Peer};

/// The side of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// A server.
    Server,
    /// A client.
    Client,
}

impl Side {
    /// Returns `server` or `client`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

/// A request that a server processes, or a call of a client.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestEvent<'a> {
    /// The side that reports the event.
    pub side: Side,
    /// The method, such as `process`, `stream`, `execute`, `lookup` or `register`. Methods that the
    /// library does not know are called `other`.
    pub method: &'static str,
    /// The name of the agent that answers, or of the tool for the method `execute`.
    ///
    /// On a server, this is the name of an agent or a tool of the server, and never a text that the
    /// caller chose. The name is empty for unknown agents, registries and proxies. On a client, it
    /// is the name by which the client calls the agent.
    pub name: &'a str,
    /// The id of the request. The caller has chosen it.
    pub id: &'a RequestId,
    /// The sender of the request, or `None` on a client.
    pub peer: Option<&'a Peer>,
    /// The [id](ConnectionEvent::id) of the connection on which a server received the request.
    pub connection: Option<u64>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// The request was answered.
    Ok,
    /// The request failed with this code. The code may have been chosen by an agent or a peer. It
    /// is `TOOL_EXECUTION_FAILED` if a tool answered with a failure.
    Failed(&'a ErrorCode),
    /// The request was dropped before it was answered, for example because its caller disconnected.
    Cancelled,
}

impl<'a> Outcome<'a> {
    /// Returns the code of the error, `OK` or `CANCELLED`.
    #[must_use]
    pub fn code(self) -> &'a str {
        match self {
            Self::Ok => "OK",
            Self::Failed(code) => code.as_str(),
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// A connection of a server or a client.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ConnectionEvent<'a> {
    /// The side that reports the event.
    pub side: Side,
    /// A number that no other connection on the same side of this process has.
    pub id: u64,
    /// The endpoint of the server.
    pub endpoint: &'a Endpoint,
    /// The other side of the connection, or `None` on a client.
    pub peer: Option<&'a Peer>,
}

/// A connection or a request that a server refused without starting a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The reason, which is one of a small set of words: `connections` (the peer has its share of
    /// connections), `malformed`, `memory`, `stopping`, `frame_size` or `protocol`.
    pub reason: &'static str,
}

/// An instance of an agent that a client has discovered.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct InstanceEvent<'a> {
    /// The name of the agent.
    pub agent: &'a str,
    /// The endpoint of the instance.
    pub endpoint: &'a Endpoint,
}

/// What a [layer](crate::layer) did with a request, or in the case of a circuit breaker with its
/// circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerEvent<'a> {
    /// The name of the layer, such as `cache`.
    pub layer: &'static str,
    /// What the layer did, which is one of a small set of words.
    ///
    /// | layer | actions |
    /// |---|---|
    /// | `audit` | `refused` |
    /// | `cache` | `hit`, `joined` (waited for the answer to the same message), `miss` |
    /// | `circuit_breaker` | `opened`, `closed`, `refused` |
    /// | `concurrency_limit` | `shed` |
    /// | `fallback` | `fell_back` |
    /// | `hedge` | `hedged` |
    /// | `rate_limit` | `refused` |
    /// | `retry` | `repeated` |
    /// | `timeout` | `timed_out` |
    /// | `validate` | `refused` |
    pub action: &'static str,
    /// The name of the agent or the tool that the layer wraps.
    pub name: &'a str,
}

impl Refusal {
    pub(crate) fn new(reason: &'static str) -> Self {
        Self { reason }
    }
}

impl<'a> InstanceEvent<'a> {
    pub(crate) fn new(agent: &'a str, endpoint: &'a Endpoint) -> Self {
        Self { agent, endpoint }
    }
}
