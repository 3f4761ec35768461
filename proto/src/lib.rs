//! The protobuf messages of `agenkit.AgentService` and their conversion to and from envelopes.
//!
//! Agents of the Python and Go adapters offer this service over gRPC ([PROTOCOL 15.3]). This crate
//! performs no I/O and does not depend on an implementation of gRPC. Most applications should use
//! the crate `agentwire` with the feature `grpc`.
//!
//! [PROTOCOL 15.3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md
//!
//! ```
//! use agentwire_codec::{Body, Call, Envelope, Message, Request as EnvelopeRequest, RequestId};
//! use agentwire_proto::{Request, Rpc};
//!
//! let call = Call::new("echo", Message::user("42"));
//! let envelope = Envelope::new(RequestId::random(), EnvelopeRequest::Process(call));
//! let request = Request::from_envelope(envelope.clone())?;
//! // The text `42` has quotes, because readers would otherwise read a number.
//! assert_eq!(request.messages[0].content, r#""42""#);
//! assert_eq!(request.into_envelope(Rpc::Process)?, envelope);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the conversion loses
//!
//! The messages of the service hold less than an envelope. The conversion follows the adapters:
//!
//! - The content of a message is text, or JSON text for any other value. A reader parses the
//!   content as JSON and keeps it as text if that fails. This crate therefore writes text that is
//!   valid JSON as a JSON string. Writers that do not do this, such as the Python adapter, cannot
//!   send the text `42`: it arrives as a number. Bytes cannot be sent.
//! - Metadata are a map from text to text. A value that is not text is written as JSON text and
//!   arrives as that text. The order of the entries is lost.
//! - The details of an error are such a map, too, but its texts are written and read like contents.
//! - A tool call and a tool result are JSON text, so only their metadata is affected. An empty
//!   error text of a successful tool result arrives as no error text.
//! - No message exists for requests with methods other than `process`, `stream` and `execute`.
//!   Peers that use this crate send them as a tool call with the name of the method. Unknown keys
//!   of an envelope and of its payload are lost.

mod content;
mod generated;
mod json_text;
mod memory;
mod message;
mod reply;
mod request;
mod services;
mod tool;

#[doc(hidden)]
pub use self::memory::Kind;
pub use self::{
    generated::{
        ChunkType, Error, Message, Request, Response, ResponseType, StreamChunk, ToolCall,
        ToolResult, health, reflection,
    },
    memory::{Wire, decode, memory_bound},
    request::{Rpc, into_raw},
    services::{SERVICE_NAME, SERVICES, Service},
};
