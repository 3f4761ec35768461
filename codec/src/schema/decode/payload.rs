use super::{
    fields::{
        attempt, message_missing, read_fields, read_map, read_text, set, syntax, text_or_value,
        wrong_kind,
    },
    message::{read_message, read_tool_result},
};
use crate::{
    Body, Call, DecodeFault, EnvelopeType, Execute, Heartbeat, Register, Request, Response,
    Unregister, Value, WireError, schema::Source,
};

pub(super) fn read_body<'de, S: Source<'de>>(
    source: &mut S,
    kind: EnvelopeType,
) -> Result<Body, DecodeFault> {
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
            let mut heartbeat = Heartbeat::healthy("");
            let mut status = None;
            read_fields(source, |source, key| {
                match key {
                    "agent_name" => {
                        heartbeat.agent_name = read_text(source, key)?.unwrap_or_default();
                    }
                    "status" => status = read_text(source, key)?,
                    "endpoint" => heartbeat.endpoint = read_text(source, key)?,
                    "instance" => heartbeat.instance = read_text(source, key)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            heartbeat.status = status.unwrap_or(heartbeat.status);
            heartbeat.into()
        }
        EnvelopeType::Register => read_register(source)?.into(),
        EnvelopeType::Unregister => {
            let mut unregister = Unregister::new("");
            unregister.agent_name = None;
            read_fields(source, |source, key| {
                match key {
                    "agent_name" => unregister.agent_name = read_text(source, key)?,
                    "endpoint" => unregister.endpoint = read_text(source, key)?,
                    "instance" => unregister.instance = read_text(source, key)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            unregister.into()
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
    let start = source.mark();
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
        (None, None) => {
            source.rewind(start);
            read_map(source, "payload").map(Response::Other)
        }
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
            "version" => register.version = read_text(source, key)?,
            "instance" => register.instance = read_text(source, key)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(register)
}
