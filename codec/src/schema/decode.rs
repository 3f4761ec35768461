use super::{Source, Syntax};
use crate::{
    Body, Call, DecodeError, DecodeFault, Envelope, EnvelopeType, Execute, Heartbeat, Map, Message,
    PROTOCOL_VERSION, Register, Request, RequestId, Response, Role, SentAt, Timestamp, ToolResult,
    Unregister, Value, WireError,
};

/// Reads one envelope, which must be all that `source` holds.
///
/// Keys may come in any order. When the type comes before the payload, as every known writer has it, the
/// payload is read in place; otherwise it is stepped over and read at the end.
pub(crate) fn decode<'de, S: Source<'de>>(mut source: S) -> Result<Envelope, DecodeError> {
    let mut head = Head::default();
    let result = read_head(&mut source, &mut head).and_then(|()| head.check());
    let checked = match result {
        Ok(checked) => checked,
        Err(fault) => return Err(DecodeError::new(head.id.and_then(Result::ok), None, fault)),
    };
    let Some(Payload { mark, read }) = head.payload else {
        let id = head.id.and_then(Result::ok);
        return Err(DecodeError::new(id, None, missing("payload")));
    };
    let body = match read {
        Some((kind, body)) if kind == checked => body,
        stale => {
            // What was read by another type is of no use, so it must not take room any longer.
            drop(stale);
            source.rewind(mark);
            read_body(&mut source, checked)
        }
    };
    let id = head.id.and_then(Result::ok);
    match (body, id) {
        (Ok(body), Some(id)) => Ok(Envelope {
            id,
            timestamp: head.timestamp,
            body,
        }),
        (Ok(_), None) => Err(DecodeError::new(None, None, missing("id"))),
        (Err(fault), id) => Err(DecodeError::new(id, Some(checked), fault)),
    }
}

/// The keys of an envelope as they come. What is there and wrong is kept for the error.
struct Head<M> {
    version: Option<Result<(), Value>>,
    kind: Option<Result<EnvelopeType, Value>>,
    id: Option<Result<RequestId, Value>>,
    timestamp: Option<SentAt>,
    payload: Option<Payload<M>>,
}

struct Payload<M> {
    mark: M,
    read: Option<(EnvelopeType, Result<Body, DecodeFault>)>,
}

impl<M> Default for Head<M> {
    fn default() -> Self {
        Self {
            version: None,
            kind: None,
            id: None,
            timestamp: None,
            payload: None,
        }
    }
}

impl<M> Head<M> {
    /// The version decides first: of another one, nothing more is known.
    fn check(&self) -> Result<EnvelopeType, DecodeFault> {
        match &self.version {
            Some(Ok(())) => {}
            Some(Err(version)) => {
                return Err(DecodeFault::Version {
                    version: version.clone(),
                });
            }
            None => return Err(missing("version")),
        }
        let kind = match &self.kind {
            Some(Ok(kind)) => *kind,
            Some(Err(kind)) => {
                let reason = format!("unknown type {kind:?}");
                return Err(DecodeFault::Envelope { reason });
            }
            None => return Err(missing("type")),
        };
        match &self.id {
            Some(Ok(_)) => Ok(kind),
            Some(Err(id)) => {
                let reason = format!("id must be text, not {}", id.kind());
                Err(DecodeFault::Envelope { reason })
            }
            None => Err(missing("id")),
        }
    }
}

fn read_head<'de, S: Source<'de>>(
    source: &mut S,
    head: &mut Head<S::Mark>,
) -> Result<(), DecodeFault> {
    let Some(mut cursor) = source.enter_map().map_err(syntax::<S>)? else {
        // Whatever it is, it must be well-formed before it can be the wrong thing.
        let value = skip_to_end(source)?;
        let reason = format!("expected an object, not {}", value.kind());
        return Err(DecodeFault::Envelope { reason });
    };
    while let Some(key) = source.next_key(&mut cursor).map_err(syntax::<S>)? {
        match &*key {
            "version" => {
                head.version = Some(text_or_value(source, |text| {
                    (text == PROTOCOL_VERSION).then_some(())
                })?);
            }
            "type" => head.kind = Some(text_or_value(source, EnvelopeType::from_text)?),
            "id" => head.id = Some(text_or_value(source, |text| Some(RequestId::from(text)))?),
            "timestamp" => {
                head.timestamp = text_or_value(source, |text| Some(SentAt::from(text)))?.ok();
            }
            "payload" => head.payload = Some(read_payload(source, &head.kind)?),
            _ => {
                source.value().map_err(syntax::<S>)?;
            }
        }
    }
    source.finish().map_err(syntax::<S>)
}

fn skip_to_end<'de, S: Source<'de>>(source: &mut S) -> Result<Value, DecodeFault> {
    let value = source.value().map_err(syntax::<S>)?;
    source.finish().map_err(syntax::<S>)?;
    Ok(value)
}

fn read_payload<'de, S: Source<'de>>(
    source: &mut S,
    kind: &Option<Result<EnvelopeType, Value>>,
) -> Result<Payload<S::Mark>, DecodeFault> {
    let mark = source.mark();
    let read = match kind {
        Some(Ok(kind)) => match read_body(source, *kind) {
            Err(fault @ DecodeFault::Syntax { .. }) => return Err(fault),
            Err(fault) => {
                // The rest of the envelope may still hold the id, so go on behind the payload.
                source.rewind(mark);
                source.value().map_err(syntax::<S>)?;
                Some((*kind, Err(fault)))
            }
            Ok(body) => Some((*kind, Ok(body))),
        },
        _ => {
            source.value().map_err(syntax::<S>)?;
            None
        }
    };
    Ok(Payload { mark, read })
}

fn read_body<'de, S: Source<'de>>(source: &mut S, kind: EnvelopeType) -> Result<Body, DecodeFault> {
    Ok(match kind {
        EnvelopeType::Request => read_request(source)?.into(),
        EnvelopeType::Response => read_response(source)?.into(),
        EnvelopeType::StreamChunk => {
            let mut message = None;
            read_fields(source, |source, key| {
                Ok(key == "message" && set(&mut message, read_message(source)?))
            })?;
            Body::StreamChunk(message.ok_or_else(message_missing)?)
        }
        EnvelopeType::StreamEnd => {
            read_fields(source, |_, _| Ok(false))?;
            Body::StreamEnd
        }
        EnvelopeType::Error => read_error(source)?.into(),
        EnvelopeType::Heartbeat => {
            let (mut agent_name, mut status) = (None, None);
            read_fields(source, |source, key| {
                Ok(match key {
                    "agent_name" => set(&mut agent_name, read_text(source, key)?),
                    "status" => set(&mut status, read_text(source, key)?),
                    _ => false,
                })
            })?;
            let status = status.flatten().unwrap_or_else(|| "healthy".to_owned());
            Heartbeat {
                agent_name: agent_name.flatten().unwrap_or_default(),
                status,
            }
            .into()
        }
        EnvelopeType::Register => read_register(source)?.into(),
        EnvelopeType::Unregister => {
            let mut agent_name = None;
            read_fields(source, |source, key| {
                Ok(key == "agent_name" && set(&mut agent_name, read_text(source, key)?))
            })?;
            Unregister {
                agent_name: agent_name.flatten(),
            }
            .into()
        }
    })
}

fn read_request<'de, S: Source<'de>>(source: &mut S) -> Result<Request, DecodeFault> {
    let start = source.mark();
    let (mut method, mut agent_name, mut message) = (None, None, None);
    let (mut tool_name, mut kwargs) = (None, None);
    read_fields(source, |source, key| {
        Ok(match key {
            "method" => set(&mut method, text_or_value(source, Method::from_text)?.ok()),
            // What cannot be read is not yet an error: another method may not need it.
            "agent_name" => set(
                &mut agent_name,
                attempt(source, |s| read_text(s, "agent_name"))?,
            ),
            "message" => set(&mut message, attempt(source, read_message)?),
            "tool_name" => set(
                &mut tool_name,
                attempt(source, |s| read_text(s, "tool_name"))?,
            ),
            "kwargs" => set(&mut kwargs, attempt(source, |s| read_map(s, "kwargs"))?),
            _ => false,
        })
    })?;
    let Some(method) = method.flatten() else {
        // What was read by then is in the payload too, and would take its room twice.
        drop((message, kwargs));
        source.rewind(start);
        return match source.value().map_err(syntax::<S>)? {
            Value::Map(payload) => Ok(Request::Other(payload)),
            other => Err(wrong_kind("payload", "an object", &other)),
        };
    };
    if method == Method::Execute {
        let tool_name = tool_name.transpose()?.flatten().unwrap_or_default();
        if tool_name.is_empty() {
            return Err(DecodeFault::Payload {
                reason: "tool_name is missing".to_owned(),
            });
        }
        return Ok(Request::Execute(Execute {
            tool_name,
            kwargs: kwargs.transpose()?.unwrap_or_default(),
        }));
    }
    let call = Call {
        agent_name: agent_name.transpose()?.flatten().unwrap_or_default(),
        message: message.ok_or_else(message_missing)??,
    };
    Ok(match method {
        Method::Process => Request::Process(call),
        _ => Request::Stream(call),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Process,
    Stream,
    Execute,
}

impl Method {
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "process" => Some(Self::Process),
            "stream" => Some(Self::Stream),
            "execute" => Some(Self::Execute),
            _ => None,
        }
    }
}

fn read_response<'de, S: Source<'de>>(source: &mut S) -> Result<Response, DecodeFault> {
    let (mut message, mut result) = (None, None);
    read_fields(source, |source, key| {
        Ok(match key {
            "message" => set(&mut message, read_message(source)?),
            "result" => set(&mut result, read_tool_result(source)?),
            _ => false,
        })
    })?;
    match (message, result) {
        (Some(message), _) => Ok(Response::Message(message)),
        (None, Some(result)) => Ok(Response::Tool(result)),
        (None, None) => Err(message_missing()),
    }
}

fn read_error<'de, S: Source<'de>>(source: &mut S) -> Result<WireError, DecodeFault> {
    let (mut code, mut message, mut details) = (None, None, None);
    read_fields(source, |source, key| {
        Ok(match key {
            "error_code" => set(&mut code, read_text(source, key)?),
            "error_message" => set(&mut message, read_text(source, key)?),
            "error_details" => set(&mut details, read_map(source, key)?),
            _ => false,
        })
    })?;
    let Some(code) = code.flatten() else {
        return Err(DecodeFault::Payload {
            reason: "error_code is missing".to_owned(),
        });
    };
    Ok(WireError::new(code, message.flatten().unwrap_or_default())
        .with_details(details.unwrap_or_default()))
}

fn read_register<'de, S: Source<'de>>(source: &mut S) -> Result<Register, DecodeFault> {
    let mut register = Register::new("", "");
    read_fields(source, |source, key| {
        match key {
            "agent_name" => register.agent_name = read_text(source, key)?.unwrap_or_default(),
            "capabilities" => register.capabilities = read_map(source, key)?,
            "endpoint" => register.endpoint = read_text(source, key)?.unwrap_or_default(),
            "metadata" => register.metadata = read_map(source, key)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(register)
}

fn read_message<'de, S: Source<'de>>(source: &mut S) -> Result<Message, DecodeFault> {
    let start = source.mark();
    match read_message_fields(source) {
        Err(DecodeFault::Payload { reason }) => {
            source.rewind(start);
            let data = source.value().map_err(syntax::<S>)?;
            Err(DecodeFault::Message { reason, data })
        }
        result => result,
    }
}

fn read_message_fields<'de, S: Source<'de>>(source: &mut S) -> Result<Message, DecodeFault> {
    let (mut role, mut content, mut metadata, mut timestamp) = (None, None, None, None);
    read_object(source, "message", |source, key| {
        Ok(match key {
            "role" => match source.text().map_err(syntax::<S>)? {
                Some(text) => set(&mut role, Role::from(&*text)),
                None => {
                    let value = source.value().map_err(syntax::<S>)?;
                    return Err(wrong_kind("role", "text", &value));
                }
            },
            "content" => set(&mut content, source.value().map_err(syntax::<S>)?),
            "metadata" => set(&mut metadata, read_map(source, key)?),
            "timestamp" => set(&mut timestamp, read_timestamp(source)?),
            _ => false,
        })
    })?;
    let problem = |reason: &str| DecodeFault::Payload {
        reason: reason.to_owned(),
    };
    match role {
        None => Err(problem("role is missing")),
        Some(role) if role.is_empty() => Err(problem("role is empty")),
        Some(role) => Ok(Message {
            role,
            content: content.ok_or_else(|| problem("content is missing"))?,
            metadata: metadata.unwrap_or_default(),
            timestamp: timestamp.flatten().unwrap_or_else(Timestamp::now),
        }),
    }
}

/// Missing, null and empty all mean that the sender named no time (PROTOCOL 3.3).
fn read_timestamp<'de, S: Source<'de>>(source: &mut S) -> Result<Option<Timestamp>, DecodeFault> {
    match source.text().map_err(syntax::<S>)? {
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => match text.parse() {
            Ok(time) => Ok(Some(time)),
            Err(error) => Err(DecodeFault::Payload {
                reason: format!("timestamp is {error}"),
            }),
        },
        None => match source.value().map_err(syntax::<S>)? {
            Value::Null => Ok(None),
            other => Err(wrong_kind("timestamp", "text", &other)),
        },
    }
}

fn read_tool_result<'de, S: Source<'de>>(source: &mut S) -> Result<ToolResult, DecodeFault> {
    let (mut success, mut data, mut error, mut metadata) = (None, None, None, None);
    read_object(source, "result", |source, key| {
        Ok(match key {
            "success" => match source.value().map_err(syntax::<S>)? {
                Value::Bool(flag) => set(&mut success, flag),
                other => return Err(wrong_kind("success", "a bool", &other)),
            },
            "data" => set(&mut data, source.value().map_err(syntax::<S>)?),
            "error" => set(&mut error, read_text(source, key)?),
            "metadata" => set(&mut metadata, read_map(source, key)?),
            _ => false,
        })
    })?;
    let error = error.flatten();
    let problem = |reason: &str| DecodeFault::Payload {
        reason: format!("result: {reason}"),
    };
    let success = success.ok_or_else(|| problem("success is missing"))?;
    if !success && error.as_ref().is_none_or(String::is_empty) {
        return Err(problem("a failure has no error text"));
    }
    Ok(ToolResult {
        success,
        data: data.unwrap_or_default(),
        error,
        metadata: metadata.unwrap_or_default(),
    })
}

/// Reads the payload object. `field` reads the value of a key that it knows and says so.
fn read_fields<'de, S: Source<'de>>(
    source: &mut S,
    field: impl FnMut(&mut S, &str) -> Result<bool, DecodeFault>,
) -> Result<(), DecodeFault> {
    read_object(source, "payload", field)
}

/// Reads an object. What `field` cannot read is an error only if it is the last value of its key
/// (PROTOCOL 2.8).
fn read_object<'de, S: Source<'de>>(
    source: &mut S,
    name: &str,
    mut field: impl FnMut(&mut S, &str) -> Result<bool, DecodeFault>,
) -> Result<(), DecodeFault> {
    let Some(mut cursor) = source.enter_map().map_err(syntax::<S>)? else {
        let value = source.value().map_err(syntax::<S>)?;
        return Err(wrong_kind(name, "an object", &value));
    };
    let mut faults = Vec::new();
    while let Some(key) = source.next_key(&mut cursor).map_err(syntax::<S>)? {
        let result = attempt(source, |source| field(source, &key))?;
        faults.retain(|(faulty, _)| *faulty != key);
        match result {
            Ok(true) => {}
            Ok(false) => {
                source.value().map_err(syntax::<S>)?;
            }
            Err(fault) => faults.push((key, fault)),
        }
    }
    match faults.into_iter().next() {
        Some((_, fault)) => Err(fault),
        None => Ok(()),
    }
}

/// Text, or `None` for null.
fn read_text<'de, S: Source<'de>>(
    source: &mut S,
    name: &str,
) -> Result<Option<String>, DecodeFault> {
    match source.text().map_err(syntax::<S>)? {
        Some(text) => Ok(Some(text.into_owned())),
        None => match source.value().map_err(syntax::<S>)? {
            Value::Null => Ok(None),
            other => Err(wrong_kind(name, "text", &other)),
        },
    }
}

/// A map; null stands for an empty one (PROTOCOL 2.7).
fn read_map<'de, S: Source<'de>>(source: &mut S, name: &str) -> Result<Map, DecodeFault> {
    match source.value().map_err(syntax::<S>)? {
        Value::Map(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(wrong_kind(name, "an object", &other)),
    }
}

fn text_or_value<'de, S: Source<'de>, T>(
    source: &mut S,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Result<T, Value>, DecodeFault> {
    Ok(match source.text().map_err(syntax::<S>)? {
        Some(text) => read(&text).ok_or_else(|| Value::from(&*text)),
        None => Err(source.value().map_err(syntax::<S>)?),
    })
}

/// Reads a value whose failure may turn out not to matter, and steps over it in any case.
fn attempt<'de, S: Source<'de>, T>(
    source: &mut S,
    read: impl FnOnce(&mut S) -> Result<T, DecodeFault>,
) -> Result<Result<T, DecodeFault>, DecodeFault> {
    let start = source.mark();
    match read(source) {
        Err(fault @ DecodeFault::Syntax { .. }) => Err(fault),
        Err(fault) => {
            source.rewind(start);
            source.value().map_err(syntax::<S>)?;
            Ok(Err(fault))
        }
        Ok(value) => Ok(Ok(value)),
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> bool {
    *slot = Some(value);
    true
}

fn syntax<'de, S: Source<'de>>(Syntax { reason, offset }: Syntax) -> DecodeFault {
    DecodeFault::Syntax {
        format: S::FORMAT,
        reason,
        offset,
    }
}

fn missing(key: &str) -> DecodeFault {
    DecodeFault::Envelope {
        reason: format!("{key} is missing"),
    }
}

fn message_missing() -> DecodeFault {
    DecodeFault::Message {
        reason: "message is missing".to_owned(),
        data: Value::Null,
    }
}

fn wrong_kind(name: &str, expected: &str, found: &Value) -> DecodeFault {
    DecodeFault::Payload {
        reason: format!("{name} must be {expected}, not {}", found.kind()),
    }
}
