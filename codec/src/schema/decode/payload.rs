//! Decodes the payload of each type of envelope.

use super::{
    fields::{
        missing_message, read_fields, read_if_map, read_map, read_or_skip, read_refused, read_text,
        store, syntax_fault, text_or_value, wrong_type,
    },
    message::{read_message, read_tool_result},
};
use crate::{
    Body, Call, DecodeFault, Delivery, EnvelopeType, Execute, Heartbeat, RawBody, Register,
    Request, Response, Unregister, WireError, schema::FormatReader,
};

pub(super) fn read_body<'de, R: FormatReader<'de>>(
    reader: &mut R,
    kind: EnvelopeType,
) -> Result<Body, DecodeFault> {
    Ok(match kind {
        EnvelopeType::Request => read_request(reader)?.into(),
        EnvelopeType::Response => read_response(reader)?.into(),
        EnvelopeType::StreamChunk => {
            let mut message = None;
            read_fields(reader, |reader, key| {
                Ok(key == "message" && store(&mut message, read_message(reader)?))
            })?;
            Body::StreamChunk(message.ok_or_else(missing_message)?)
        }
        EnvelopeType::StreamEnd => {
            read_fields(reader, |_, _| Ok(false))?;
            Body::StreamEnd
        }
        EnvelopeType::Error => read_error(reader)?.into(),
        EnvelopeType::Heartbeat => {
            let mut heartbeat = Heartbeat::healthy("");
            let mut status = None;
            read_fields(reader, |reader, key| {
                match key {
                    "agent_name" => {
                        heartbeat.agent_name = read_text(reader, key)?.unwrap_or_default();
                    }
                    "status" => status = read_text(reader, key)?,
                    "endpoint" => heartbeat.endpoint = read_text(reader, key)?,
                    "instance" => heartbeat.instance = read_text(reader, key)?,
                    "owner" => heartbeat.owner = read_text(reader, key)?,
                    "metadata" => heartbeat.metadata = read_map(reader, key)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            heartbeat.status = status.unwrap_or(heartbeat.status);
            heartbeat.into()
        }
        EnvelopeType::Register => read_register(reader)?.into(),
        EnvelopeType::Unregister => {
            let mut unregister = Unregister::new("");
            unregister.agent_name = None;
            read_fields(reader, |reader, key| {
                match key {
                    "agent_name" => unregister.agent_name = read_text(reader, key)?,
                    "endpoint" => unregister.endpoint = read_text(reader, key)?,
                    "instance" => unregister.instance = read_text(reader, key)?,
                    "owner" => unregister.owner = read_text(reader, key)?,
                    "metadata" => unregister.metadata = read_map(reader, key)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            unregister.into()
        }
    })
}

/// Decodes the payload of an envelope of any type as a map. The keys of the payload are not
/// checked.
pub(super) fn read_raw_body<'de, R: FormatReader<'de>>(
    reader: &mut R,
    kind: EnvelopeType,
) -> Result<Body, DecodeFault> {
    match read_if_map(reader)? {
        Some(payload) => Ok(RawBody::received(kind, payload).into()),
        None => Err(wrong_type("payload", "an object", &read_refused(reader)?)),
    }
}

fn read_request<'de, R: FormatReader<'de>>(reader: &mut R) -> Result<Request, DecodeFault> {
    let start = reader.position();
    let (mut method, mut agent_name, mut message) = (None, None, None);
    let (mut tool_name, mut kwargs, mut metadata) = (None, None, None);
    let mut delivery = Delivery::default();
    read_fields(reader, |reader, key| {
        Ok(match key {
            "method" => store(&mut method, text_or_value(reader, Method::from_text)?),
            // An invalid value is not an error yet, because the method may not use the value.
            "agent_name" => store(
                &mut agent_name,
                read_or_skip(reader, |r| read_text(r, "agent_name"))?,
            ),
            "message" => store(&mut message, read_or_skip(reader, read_message)?),
            "tool_name" => store(
                &mut tool_name,
                read_or_skip(reader, |r| read_text(r, "tool_name"))?,
            ),
            "kwargs" => store(
                &mut kwargs,
                read_or_skip(reader, |r| read_map(r, "kwargs"))?,
            ),
            "metadata" => store(
                &mut metadata,
                read_or_skip(reader, |r| read_map(r, "metadata"))?,
            ),
            // Other programs may use these keys for something else.
            "deadline_ms" if reader.next_kind() == "integer" => {
                delivery.deadline_ms = reader.value().map_err(syntax_fault::<R>)?.as_u64();
                true
            }
            "idempotency_key" if reader.next_kind() == "text" => {
                let key = read_text(reader, key)?;
                delivery.idempotency_key = key.filter(|key| Delivery::is_usable_key(key));
                true
            }
            _ => false,
        })
    })?;
    let Some(Ok(method)) = method else {
        // Free these values before the whole payload, which contains them, is decoded again.
        drop((method, message, kwargs, metadata));
        reader.rewind(start);
        return read_map(reader, "payload").map(Request::Other);
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
            metadata: metadata.transpose()?.unwrap_or_default(),
            delivery,
        }));
    }
    let call = Call {
        agent_name: agent_name.transpose()?.flatten().unwrap_or_default(),
        message: message.ok_or_else(missing_message)??,
        delivery,
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

fn read_response<'de, R: FormatReader<'de>>(reader: &mut R) -> Result<Response, DecodeFault> {
    let start = reader.position();
    let (mut message, mut result) = (None, None);
    read_fields(reader, |reader, key| {
        Ok(match key {
            "message" => store(&mut message, read_message(reader)?),
            "result" => store(&mut result, read_tool_result(reader)?),
            _ => false,
        })
    })?;
    match (message, result) {
        (Some(message), _) => Ok(Response::Message(message)),
        (None, Some(result)) => Ok(Response::Tool(result)),
        (None, None) => {
            reader.rewind(start);
            read_map(reader, "payload").map(Response::Other)
        }
    }
}

fn read_error<'de, R: FormatReader<'de>>(reader: &mut R) -> Result<WireError, DecodeFault> {
    let (mut code, mut message, mut details) = (None, None, None);
    read_fields(reader, |reader, key| {
        Ok(match key {
            "error_code" => store(&mut code, read_text(reader, key)?),
            "error_message" => store(&mut message, read_text(reader, key)?),
            "error_details" => store(&mut details, read_map(reader, key)?),
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

fn read_register<'de, R: FormatReader<'de>>(reader: &mut R) -> Result<Register, DecodeFault> {
    let mut register = Register::new("", "");
    read_fields(reader, |reader, key| {
        match key {
            "agent_name" => register.agent_name = read_text(reader, key)?.unwrap_or_default(),
            "capabilities" => register.capabilities = read_map(reader, key)?,
            "endpoint" => register.endpoint = read_text(reader, key)?.unwrap_or_default(),
            "metadata" => register.metadata = read_map(reader, key)?,
            "version" => register.version = read_text(reader, key)?,
            "instance" => register.instance = read_text(reader, key)?,
            "machine" => register.machine = read_text(reader, key)?,
            "owner" => register.owner = read_text(reader, key)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(register)
}
