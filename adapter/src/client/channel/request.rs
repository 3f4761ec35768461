//! A request that is encoded once for all of its attempts.

use std::sync::Arc;

use agentwire_codec::{
    Body, EncodeError, Envelope, Request as RequestBody, RequestId, TraceContext,
};
#[cfg(feature = "grpc")]
use agentwire_codec::{Format, FrameError, HEADER_LEN, Value};
use agentwire_transport::Endpoint;

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
    /// The frame, which is empty if the request can only go to an endpoint of gRPC.
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
    /// Encodes a request to a fixed endpoint, or to an agent that is discovered.
    pub(in crate::client) fn new(
        body: Body,
        config: &Config,
        endpoint: Option<&Endpoint>,
    ) -> Result<Self, InvalidRequest> {
        let (method, tool) = match &body {
            Body::Request(RequestBody::Process(_)) => ("process", None),
            Body::Request(RequestBody::Stream(_)) => ("stream", None),
            Body::Request(RequestBody::Execute(execute)) => {
                ("execute", Some(execute.tool_name.clone()))
            }
            Body::Request(other) => (static_name(other.method()), None),
            other => (other.kind().as_str(), None),
        };
        #[cfg(feature = "grpc")]
        if endpoint.is_some_and(is_grpc) && has_only_texts(&body) {
            return Self::encode_for_grpc(method, body, config);
        }
        #[cfg(not(feature = "grpc"))]
        let _ = endpoint;
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
    /// Encodes a call to an agent as a message of gRPC only.
    fn encode_for_grpc(
        method: &'static str,
        body: Body,
        config: &Config,
    ) -> Result<Self, InvalidRequest> {
        let id = RequestId::random();
        let envelope = Envelope::new(id.clone(), body);
        let max = config.frame_limits.max_send();
        let message =
            Message::new(envelope, max).map_err(|source| InvalidRequest { tool: None, source })?;
        Ok(Self {
            id,
            method,
            tool: None,
            frame: Frame::Large(bytes::Bytes::new()),
            trace: None,
            grpc: message.into(),
        })
    }

    /// Returns the request as a message of gRPC of at most `max` bytes. The frame is converted at
    /// the first use, because which carrier an attempt uses is known only when its instance is
    /// chosen.
    pub(super) fn grpc_message(&self, max: usize) -> Result<bytes::Bytes, Failure> {
        if let Some(message) = self.grpc.get() {
            return Ok(message.bytes.clone());
        }
        let payload = &self.frame[HEADER_LEN..];
        let envelope = Format::detect(payload).decode(payload)?;
        let message = Message::new(envelope, max).map_err(Failure::Encode)?;
        Ok(self.grpc.get_or_init(|| message).bytes.clone())
    }

    /// Returns the method in the message of gRPC.
    pub(super) fn grpc_method(&self) -> &str {
        self.grpc
            .get()
            .map_or(self.method, |message| &message.method)
    }
}

#[cfg(feature = "grpc")]
impl Message {
    fn new(envelope: Envelope, max: usize) -> Result<Self, EncodeError> {
        let request = agentwire_proto::Request::from_envelope(envelope)?;
        let framed = crate::grpc::frame(&request, max);
        let bytes = framed.map_err(|len| FrameError::TooLarge { len, max })?;
        Ok(Self {
            method: request.method,
            bytes,
        })
    }
}

/// Returns whether the carrier of an endpoint is gRPC.
#[cfg(feature = "grpc")]
pub(super) fn is_grpc(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Url(url) if url.scheme.is_grpc())
}

/// Returns whether a request is a call whose content and metadata are texts, which are the same in
/// a frame and in a message of gRPC. The limits of other values, such as for nesting, are those of
/// a frame.
#[cfg(feature = "grpc")]
fn has_only_texts(body: &Body) -> bool {
    let (Body::Request(RequestBody::Process(call)) | Body::Request(RequestBody::Stream(call))) =
        body
    else {
        return false;
    };
    let message = &call.message;
    let is_text = |value: &Value| matches!(value, Value::Text(_));
    is_text(&message.content) && message.metadata.iter().all(|(_, value)| is_text(value))
}

#[cfg(feature = "grpc")]
#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentwire_codec::{Call, Map, Message as EnvelopeMessage};
    use agentwire_proto::{Request as ProtoRequest, decode};

    use super::*;

    fn request(content: impl Into<Value>, metadata: Map) -> (Request, ProtoRequest) {
        let mut message = EnvelopeMessage::user(content);
        message.metadata = metadata;
        message.timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut call = Call::new("echo", message);
        call.delivery.deadline_ms = Some(1500);
        let body = RequestBody::Process(call).into();
        let endpoint: Endpoint = "grpc://127.0.0.1:1".parse().unwrap();
        let config = Config::new(String::new(), Duration::ZERO);
        let request = Request::new(body, &config, Some(&endpoint)).unwrap();
        let message = request.grpc_message(usize::MAX).unwrap();
        let (sent, _) = decode(&message[crate::grpc::PREFIX_LEN..], usize::MAX).unwrap();
        (request, sent)
    }

    #[test]
    fn a_call_with_texts_is_the_same_message_of_grpc_with_and_without_a_frame() {
        for text in ["hello", "", "42", "\"quoted\"", "\u{1f600} \u{0} \n"] {
            let metadata = Map::from([("note", text)]);
            let (direct, sent) = request(text, metadata.clone());
            assert!(direct.frame.is_empty(), "{text}");
            let mut with_number = metadata;
            with_number.insert("number", 7);
            let (framed, mut expected) = request(text, with_number);
            assert!(!framed.frame.is_empty(), "{text}");
            // What differs by intent.
            expected.messages[0].metadata.remove("number");
            (expected.id, expected.timestamp) = (sent.id.clone(), sent.timestamp.clone());
            assert_eq!(sent, expected, "{text}");
            assert_eq!(direct.grpc_method(), framed.grpc_method());
        }
    }

    #[test]
    fn a_call_with_another_content_has_a_frame() {
        let (framed, sent) = request(7, Map::new());
        assert!(!framed.frame.is_empty());
        assert_eq!(sent.messages[0].content, "7");
    }
}
