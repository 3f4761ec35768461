//! A request that is encoded once for all of its attempts.

use std::sync::Arc;

use agentwire_codec::{
    Body, EncodeError, Envelope, Request as RequestBody, RequestId, TraceContext,
};
#[cfg(feature = "grpc")]
use agentwire_codec::{Format, FrameError, HEADER_LEN};

#[cfg(feature = "grpc")]
use super::failure::Failure;
use super::frame::Frame;
use crate::{client::config::Config, connection::buffer_pool, description::DESCRIBE};

/// An encoded request. All attempts send the same bytes, even to different endpoints.
#[derive(Debug)]
pub(in crate::client) struct Request {
    pub(in crate::client) id: RequestId,
    /// The name of the method, for logs.
    pub(in crate::client) method: &'static str,
    /// The name of the tool, if the request runs one.
    pub(in crate::client) tool: Option<String>,
    pub(in crate::client) frame: Frame,
    /// The trace context, for the headers of carriers that have headers.
    #[cfg(any(feature = "grpc", feature = "http"))]
    pub(super) trace: Option<Arc<TraceContext>>,
    /// The request as a message of gRPC, once an attempt has needed it.
    #[cfg(feature = "grpc")]
    grpc: std::sync::OnceLock<Message>,
}

/// A request as a message of gRPC.
#[cfg(feature = "grpc")]
#[derive(Debug)]
struct Message {
    method: String,
    bytes: bytes::Bytes,
}

/// Returns the name of a method that is neither `process`, `stream` nor `execute`.
fn static_name(method: Option<&str>) -> &'static str {
    let method = METHODS.into_iter().find(|known| method == Some(*known));
    method.unwrap_or("request")
}

const METHODS: [&str; 5] = [DESCRIBE, "lookup", "list", "find", "watch"];

/// A request that cannot be encoded.
#[derive(Debug)]
pub(in crate::client) struct InvalidRequest {
    pub(in crate::client) tool: Option<String>,
    pub(in crate::client) source: EncodeError,
}

impl Request {
    pub(in crate::client) fn new(body: Body, config: &Config) -> Result<Self, InvalidRequest> {
        let (method, tool) = match &body {
            Body::Request(RequestBody::Process(_)) => ("process", None),
            Body::Request(RequestBody::Stream(_)) => ("stream", None),
            Body::Request(RequestBody::Execute(execute)) => {
                ("execute", Some(execute.tool_name.clone()))
            }
            Body::Request(other) => (static_name(other.method()), None),
            other => (other.kind().as_str(), None),
        };
        Self::encode(RequestId::random(), method, tool, body, config)
    }

    /// Sets the trace context for the headers of carriers that have headers.
    pub(in crate::client) fn traced(self, trace: Option<Arc<TraceContext>>) -> Self {
        #[cfg(any(feature = "grpc", feature = "http"))]
        return Self { trace, ..self };
        #[cfg(not(any(feature = "grpc", feature = "http")))]
        {
            let _ = trace;
            self
        }
    }

    /// Encodes a forwarded request under the id that its sender chose.
    pub(in crate::client) fn forwarded(
        id: RequestId,
        body: Body,
        config: &Config,
    ) -> Result<Self, InvalidRequest> {
        let method = body.kind().as_str();
        Self::encode(id, method, None, body, config)
    }

    /// Encodes a heartbeat. Any response to the heartbeat proves that the server is alive.
    pub(in crate::client) fn ping(
        heartbeat: Body,
        config: &Config,
    ) -> Result<Self, InvalidRequest> {
        Self::encode(RequestId::random(), "ping", None, heartbeat, config)
    }

    fn encode(
        id: RequestId,
        method: &'static str,
        tool: Option<String>,
        body: Body,
        config: &Config,
    ) -> Result<Self, InvalidRequest> {
        let envelope = Envelope::new(id.clone(), body);
        let mut frame = buffer_pool::take_write_buffer();
        let max_send = config.frame_limits.max_send();
        let encoded = config.format.put_frame(&envelope, max_send, &mut frame);
        match encoded {
            Ok(()) => Ok(Self {
                id,
                method,
                tool,
                frame: frame.into(),
                #[cfg(any(feature = "grpc", feature = "http"))]
                trace: None,
                #[cfg(feature = "grpc")]
                grpc: std::sync::OnceLock::new(),
            }),
            Err(source) => Err(InvalidRequest { tool, source }),
        }
    }
}

#[cfg(feature = "grpc")]
impl Request {
    /// Returns the request as a message of gRPC of at most `max` bytes. The frame is converted at
    /// the first use, because which carrier an attempt uses is known only when its instance is
    /// chosen.
    pub(super) fn grpc_message(&self, max: usize) -> Result<bytes::Bytes, Failure> {
        if let Some(message) = self.grpc.get() {
            return Ok(message.bytes.clone());
        }
        let payload = &self.frame[HEADER_LEN..];
        let envelope = Format::detect(payload).decode(payload)?;
        let request = agentwire_proto::Request::from_envelope(envelope);
        let request = request.map_err(Failure::Encode)?;
        let framed = crate::grpc::frame(&request, max);
        let bytes =
            framed.map_err(|len| Failure::Encode(FrameError::TooLarge { len, max }.into()))?;
        let message = Message {
            method: request.method,
            bytes,
        };
        Ok(self.grpc.get_or_init(|| message).bytes.clone())
    }

    /// Returns the method in the message of gRPC.
    pub(super) fn grpc_method(&self) -> &str {
        self.grpc
            .get()
            .map_or(self.method, |message| &message.method)
    }
}
