//! The conversion of requests.

use agentwire_codec::{
    Body, Call, DecodeError, DecodeFault, Delivery, EncodeError, Envelope, EnvelopeType, Execute,
    Format, Map, Message as EnvelopeMessage, PROTOCOL_VERSION, RawBody, Request as EnvelopeRequest,
    RequestId, SentAt, Value,
};

use crate::{Message, Request, ToolCall, content::read_texts};

/// The procedures of the service that agents implement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rpc {
    /// `Process`, which returns one response.
    Process,
    /// `ProcessStream`, which returns a stream of chunks.
    ProcessStream,
}

impl Rpc {
    /// Returns the path of the procedure in HTTP.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Process => "/agenkit.AgentService/Process",
            Self::ProcessStream => "/agenkit.AgentService/ProcessStream",
        }
    }

    /// Returns the procedure at a path.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        [Self::Process, Self::ProcessStream]
            .into_iter()
            .find(|rpc| rpc.path() == path)
    }
}

impl Request {
    /// Converts the envelope of a request. The crate documentation lists what the conversion
    /// loses.
    ///
    /// # Errors
    ///
    /// Returns an error if the envelope violates a rule of [PROTOCOL 3] or contains a value that
    /// JSON cannot represent.
    ///
    /// [PROTOCOL 3]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#3-messages-and-tool-results
    pub fn from_envelope(envelope: Envelope) -> Result<Self, EncodeError> {
        let Envelope {
            id,
            timestamp,
            body,
            ..
        } = envelope;
        let mut request = Self {
            version: PROTOCOL_VERSION.to_owned(),
            id: id.to_text().into_owned(),
            timestamp: timestamp.unwrap_or_else(SentAt::now).to_string(),
            ..Self::default()
        };
        match body {
            Body::Request(EnvelopeRequest::Process(call)) => request.call("process", call)?,
            Body::Request(EnvelopeRequest::Stream(call)) => request.call("stream", call)?,
            Body::Request(EnvelopeRequest::Execute(execute)) => {
                if execute.tool_name.is_empty() {
                    return Err(EncodeError::EmptyToolName);
                }
                request.put_delivery(execute.delivery);
                EXECUTE.clone_into(&mut request.method);
                let call = ToolCall::write(execute.tool_name, execute.kwargs, execute.metadata)?;
                request.tool_call = Some(call);
            }
            Body::Request(EnvelopeRequest::Other(payload)) => request.other(payload)?,
            Body::Raw(raw) if raw.kind == EnvelopeType::Request => {
                match typed(&id, raw.kind, raw.payload.clone()) {
                    Ok(Body::Request(EnvelopeRequest::Other(payload))) => request.other(payload)?,
                    Ok(body @ Body::Request(_)) => {
                        return Self::from_envelope(Envelope::new(id, body));
                    }
                    // The receiver refuses the payload.
                    Ok(_) | Err(_) => request.other(raw.payload)?,
                }
            }
            notice => {
                let method = notice.kind().as_str();
                method.clone_into(&mut request.method);
                let call = ToolCall::write(method.to_owned(), untyped(notice)?, Map::new())?;
                request.tool_call = Some(call);
            }
        }
        Ok(request)
    }

    fn call(&mut self, method: &str, call: Call) -> Result<(), EncodeError> {
        method.clone_into(&mut self.method);
        self.agent_name = call.agent_name;
        self.put_delivery(call.delivery);
        self.messages = vec![Message::write(call.message)?];
        Ok(())
    }

    /// Writes how the request is to be delivered into the metadata of the request, which Python's
    /// and Go's servers ignore.
    fn put_delivery(&mut self, delivery: Delivery) {
        if let Some(millis) = delivery.deadline_ms {
            self.metadata
                .insert(DEADLINE.to_owned(), millis.to_string());
        }
        if let Some(key) = delivery.idempotency_key {
            self.metadata.insert(IDEMPOTENCY_KEY.to_owned(), key);
        }
    }

    fn take_delivery(&mut self) -> Delivery {
        let mut delivery = Delivery::default();
        let millis = self.metadata.remove(DEADLINE);
        delivery.deadline_ms = millis.and_then(|millis| millis.parse().ok());
        let key = self.metadata.remove(IDEMPOTENCY_KEY);
        delivery.idempotency_key = key.filter(|key| Delivery::is_usable_key(key));
        delivery
    }

    /// Writes a request with a method that the service does not have.
    fn other(&mut self, mut payload: Map) -> Result<(), EncodeError> {
        let method = match payload.remove("method") {
            Some(Value::Text(method)) => method,
            Some(other) => other.to_plain_text(),
            None => NO_METHOD.to_owned(),
        };
        self.method.clone_from(&method);
        // A name tells a call without arguments from a request without a call.
        self.tool_call = Some(ToolCall::write(method, payload, Map::new())?);
        Ok(())
    }

    /// Converts the request into an envelope. The procedure decides between `process` and `stream`:
    /// like the adapters, this method does not compare the procedure with the field `method`.
    ///
    /// # Errors
    ///
    /// Returns an error if the message or the tool call is malformed.
    pub fn into_envelope(mut self, rpc: Rpc) -> Result<Envelope, DecodeError> {
        let delivery = self.take_delivery();
        let id = RequestId::from(self.id);
        let sent_at = (!self.timestamp.is_empty()).then(|| SentAt::from(&*self.timestamp));
        let notice = match &*self.method {
            "register" => Some(EnvelopeType::Register),
            "heartbeat" => Some(EnvelopeType::Heartbeat),
            "unregister" => Some(EnvelopeType::Unregister),
            _ => None,
        };
        let tool_call = self.tool_call.unwrap_or_default();
        let is_execute = match &*self.method {
            EXECUTE => true,
            // What a person writes by hand for a tool.
            "" => self.messages.is_empty() && !tool_call.name.is_empty(),
            _ => false,
        };
        let body = match &*self.method {
            _ if is_execute => execute(tool_call, delivery),
            "" | "process" | "stream" => {
                let message = self.messages.into_iter().next();
                // Like the adapters, this method reads a missing message as an empty one.
                let message = message.map_or(Ok(EnvelopeMessage::user("")), Message::read);
                message.map(|message| {
                    let mut call = Call::new(self.agent_name, message);
                    call.delivery = delivery;
                    match rpc {
                        Rpc::Process => EnvelopeRequest::Process(call).into(),
                        Rpc::ProcessStream => EnvelopeRequest::Stream(call).into(),
                    }
                })
            }
            _ => tool_call.arguments().and_then(|arguments| match notice {
                Some(kind) => typed(&id, kind, arguments),
                None => {
                    let mut payload = Map::from([("method", self.method)]);
                    payload.extend(arguments.into_iter().filter(|(key, _)| key != "method"));
                    Ok(EnvelopeRequest::Other(payload).into())
                }
            }),
        };
        match body {
            Ok(body) => {
                let mut envelope = Envelope::new(id, body);
                envelope.timestamp = sent_at;
                Ok(envelope)
            }
            Err(fault) => Err(DecodeError::new(
                Some(id),
                Some(EnvelopeType::Request),
                fault,
            )),
        }
    }
}

fn execute(call: ToolCall, delivery: Delivery) -> Result<Body, DecodeFault> {
    if call.name.is_empty() {
        let reason = "tool_name is missing".to_owned();
        return Err(DecodeFault::Payload { reason });
    }
    let arguments = call.arguments()?;
    let mut execute = Execute::new(call.name, arguments);
    execute.metadata = read_texts(call.metadata);
    execute.delivery = delivery;
    Ok(EnvelopeRequest::Execute(execute).into())
}

/// Reads a payload as the body of a type.
fn typed(id: &RequestId, kind: EnvelopeType, payload: Map) -> Result<Body, DecodeFault> {
    let fault = |reason| DecodeFault::Payload { reason };
    let mut text = Vec::new();
    let envelope = Envelope::new(id.clone(), RawBody::new(kind, payload));
    let encoded = Format::Json.encode(&envelope, &mut text);
    encoded.map_err(|error| fault(error.to_string()))?;
    let decoded = Format::Json.decode(&text);
    match decoded {
        Ok(envelope) => Ok(envelope.body),
        Err(error) => Err(error.into_fault()),
    }
}

/// Converts the body of an envelope into the form in which a proxy forwards it.
///
/// # Errors
///
/// Returns an error if the body contains a value that JSON cannot represent.
pub fn into_raw(envelope: Envelope) -> Result<Envelope, EncodeError> {
    let kind = envelope.body.kind();
    let mut raw = RawBody::new(kind, untyped(envelope.body)?);
    raw.timestamp.clone_from(&envelope.timestamp);
    Ok(Envelope::new(envelope.id, raw))
}

/// Returns the payload of a body.
fn untyped(body: Body) -> Result<Map, EncodeError> {
    if let Body::Raw(raw) = body {
        return Ok(raw.payload);
    }
    let mut text = Vec::new();
    Format::Json.encode(&Envelope::new(RequestId::unknown(), body), &mut text)?;
    match Format::Json.decode_raw(&text).map(|envelope| envelope.body) {
        Ok(Body::Raw(raw)) => Ok(raw.payload),
        // Unreachable, because the codec reads what it writes.
        Ok(_) | Err(_) => Ok(Map::new()),
    }
}

const EXECUTE: &str = "execute";
const DEADLINE: &str = "deadline_ms";
const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// Stands for the method of a request whose payload has no method, so that the receiver does not
/// take the request for `process`.
const NO_METHOD: &str = "unknown";
