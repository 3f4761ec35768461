//! The conversion of responses and of the chunks of streams.

use agentwire_codec::{
    Body, DecodeError, DecodeFault, EncodeError, Envelope, EnvelopeType, ErrorCode,
    Message as EnvelopeMessage, PROTOCOL_VERSION, RequestId, Response as EnvelopeResponse, SentAt,
    ToolResult as EnvelopeResult, Value, WireError, from_value,
};

use crate::{ChunkType, Error, Message, Response, ResponseType, StreamChunk, ToolResult};

impl Response {
    /// Converts the envelope of an answer. The crate documentation lists what the conversion loses.
    ///
    /// An envelope that is no answer to a call becomes an error.
    ///
    /// # Errors
    ///
    /// Returns an error if the envelope violates a rule of [PROTOCOL 3] or contains a value that
    /// JSON cannot represent.
    ///
    /// [PROTOCOL 3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
    pub fn from_envelope(envelope: Envelope) -> Result<Self, EncodeError> {
        let mut response = Self {
            version: PROTOCOL_VERSION.to_owned(),
            id: envelope.id.to_text().into_owned(),
            timestamp: sent_at(&envelope),
            ..Self::default()
        };
        match reply(envelope.body) {
            Body::Response(EnvelopeResponse::Message(message)) => {
                response.set_type(ResponseType::Message);
                response.message = Some(Message::write(message)?);
            }
            Body::Response(EnvelopeResponse::Tool(result)) => {
                response.set_type(ResponseType::ToolResult);
                response.tool_result = Some(ToolResult::write(result)?);
            }
            Body::Response(EnvelopeResponse::Other(payload)) => {
                response.set_type(ResponseType::ToolResult);
                response.tool_result = Some(ToolResult::write_payload(payload)?);
            }
            Body::Error(error) => {
                response.set_type(ResponseType::Error);
                response.error = Some(Error::write(error));
            }
            other => {
                response.set_type(ResponseType::Error);
                response.error = Some(Error::write(misplaced(other.kind(), "Process")));
            }
        }
        Ok(response)
    }

    /// Converts the response into the envelope that answers a request with this method.
    ///
    /// # Errors
    ///
    /// Returns an error if the response lacks the part that its type names, or if that part is
    /// malformed.
    pub fn into_envelope(self, method: &str) -> Result<Envelope, DecodeError> {
        let kind = self.r#type();
        let body = match (kind, self.message, self.tool_result, self.error) {
            (ResponseType::Message, Some(message), _, _) => message
                .read()
                .map(|message| EnvelopeResponse::Message(message).into()),
            (ResponseType::ToolResult, _, Some(result), _) if method == "execute" => result
                .read()
                .map(|result| EnvelopeResponse::Tool(result).into()),
            (ResponseType::ToolResult, _, Some(result), _) => result
                .read_payload()
                .map(|payload| EnvelopeResponse::Other(payload).into()),
            (ResponseType::Error, _, _, error) => Ok(error.unwrap_or_default().read().into()),
            (kind, ..) => Err(incomplete(kind.as_str_name())),
        };
        finish(self.id, &self.timestamp, EnvelopeType::Response, body)
    }
}

impl StreamChunk {
    /// Converts the envelope of one answer in a stream. The crate documentation lists what the
    /// conversion loses.
    ///
    /// An envelope that does not belong into a stream becomes an error.
    ///
    /// # Errors
    ///
    /// Returns an error if the envelope violates a rule of [PROTOCOL 3] or contains a value that
    /// JSON cannot represent.
    ///
    /// [PROTOCOL 3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
    pub fn from_envelope(envelope: Envelope) -> Result<Self, EncodeError> {
        let mut chunk = Self {
            version: PROTOCOL_VERSION.to_owned(),
            id: envelope.id.to_text().into_owned(),
            timestamp: sent_at(&envelope),
            ..Self::default()
        };
        match reply(envelope.body) {
            Body::StreamChunk(message) => {
                chunk.set_type(ChunkType::Message);
                chunk.message = Some(Message::write(message)?);
            }
            Body::StreamEnd => chunk.set_type(ChunkType::End),
            Body::Error(error) => {
                chunk.set_type(ChunkType::Error);
                chunk.error = Some(Error::write(error));
            }
            other => {
                chunk.set_type(ChunkType::Error);
                chunk.error = Some(Error::write(misplaced(other.kind(), "ProcessStream")));
            }
        }
        Ok(chunk)
    }

    /// Returns whether no chunk follows this chunk.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.r#type() != ChunkType::Message
    }

    /// Converts the chunk into an envelope.
    ///
    /// # Errors
    ///
    /// Returns an error if the chunk lacks the part that its type names, or if that part is
    /// malformed.
    pub fn into_envelope(self) -> Result<Envelope, DecodeError> {
        let kind = self.r#type();
        let body = match (kind, self.message, self.error) {
            (ChunkType::Message, Some(message), _) => message.read().map(Body::StreamChunk),
            (ChunkType::End, _, _) => Ok(Body::StreamEnd),
            (ChunkType::Error, _, error) => Ok(error.unwrap_or_default().read().into()),
            (kind, ..) => Err(incomplete(kind.as_str_name())),
        };
        finish(self.id, &self.timestamp, EnvelopeType::StreamChunk, body)
    }
}

/// Gives a forwarded answer its type, so that its message keeps its form.
fn reply(body: Body) -> Body {
    let Body::Raw(mut raw) = body else {
        return body;
    };
    let read = |value: Value| from_value::<EnvelopeMessage>(value);
    match raw.kind {
        EnvelopeType::StreamEnd => Body::StreamEnd,
        EnvelopeType::StreamChunk => match raw.payload.remove("message").map(read) {
            Some(Ok(message)) => Body::StreamChunk(message),
            _ => unreadable("stream_chunk"),
        },
        EnvelopeType::Response => {
            if let Some(message) = raw.payload.remove("message") {
                return read(message).map_or_else(
                    |_| unreadable("response"),
                    |message| EnvelopeResponse::Message(message).into(),
                );
            }
            if let Some(result) = raw.payload.remove("result") {
                return from_value::<EnvelopeResult>(result).map_or_else(
                    |_| unreadable("response"),
                    |result| EnvelopeResponse::Tool(result).into(),
                );
            }
            EnvelopeResponse::Other(raw.payload).into()
        }
        EnvelopeType::Error => {
            let mut text = |key: &str| match raw.payload.remove(key) {
                Some(Value::Text(text)) => text,
                Some(other) => other.to_plain_text(),
                None => String::new(),
            };
            let error = WireError::new(text("error_code"), text("error_message"));
            match raw.payload.remove("error_details") {
                Some(Value::Map(details)) => error.with_details(details).into(),
                _ => error.into(),
            }
        }
        _ => Body::Raw(raw),
    }
}

fn unreadable(kind: &str) -> Body {
    let text = format!("The {kind} of the agent is malformed");
    WireError::new(ErrorCode::INTERNAL_ERROR, text).into()
}

fn misplaced(kind: EnvelopeType, rpc: &str) -> WireError {
    let text = format!("The request is answered with a '{kind}', which {rpc} cannot carry");
    WireError::new(ErrorCode::INVALID_MESSAGE, text)
}

fn incomplete(kind: &str) -> DecodeFault {
    DecodeFault::Payload {
        reason: format!("an answer of the type {kind} lacks its content"),
    }
}

fn sent_at(envelope: &Envelope) -> String {
    match &envelope.timestamp {
        Some(sent_at) => sent_at.to_string(),
        None => SentAt::now().to_string(),
    }
}

fn finish(
    id: String,
    timestamp: &str,
    kind: EnvelopeType,
    body: Result<Body, DecodeFault>,
) -> Result<Envelope, DecodeError> {
    let id = RequestId::from(id);
    match body {
        Ok(body) => {
            let mut envelope = Envelope::new(id, body);
            envelope.timestamp = (!timestamp.is_empty()).then(|| SentAt::from(timestamp));
            Ok(envelope)
        }
        Err(fault) => Err(DecodeError::new(Some(id), Some(kind), fault)),
    }
}
