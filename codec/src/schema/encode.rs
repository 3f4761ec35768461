use super::sink::{Field, Sink, field};
use crate::{
    Body, Call, EncodeError, Envelope, Execute, Map, Message, PROTOCOL_VERSION, Request, Response,
    ToolResult, Value,
};

/// Writes an envelope with its keys in the order of PROTOCOL 2.
pub(crate) fn encode<S: Sink>(sink: &mut S, envelope: &Envelope) -> Result<(), EncodeError> {
    let timed = usize::from(envelope.timestamp.is_some());
    sink.begin_map(4 + timed)?;
    sink.field(0, field!("version"));
    sink.plain(PROTOCOL_VERSION.as_bytes());
    sink.field(1, field!("type"));
    sink.plain(envelope.body.kind().as_str().as_bytes());
    sink.field(2, field!("id"));
    envelope.id.write(sink);
    if let Some(sent_at) = &envelope.timestamp {
        sink.field(3, field!("timestamp"));
        sent_at.write(sink);
    }
    sink.field(3 + timed, field!("payload"));
    write_payload(sink, &envelope.body)?;
    sink.end_map();
    Ok(())
}

fn write_payload<S: Sink>(sink: &mut S, body: &Body) -> Result<(), EncodeError> {
    match body {
        Body::Request(Request::Process(call)) => return write_call(sink, "process", call),
        Body::Request(Request::Stream(call)) => return write_call(sink, "stream", call),
        Body::Request(Request::Execute(execute)) => return write_execute(sink, execute),
        Body::Request(Request::Other(payload)) => return write_map(sink, payload),
        Body::Response(Response::Message(message)) | Body::StreamChunk(message) => {
            sink.begin_map(1)?;
            sink.field(0, field!("message"));
            write_message(sink, message)?;
        }
        Body::Response(Response::Tool(result)) => {
            sink.begin_map(1)?;
            sink.field(0, field!("result"));
            write_tool_result(sink, result)?;
        }
        Body::Response(Response::Other(payload)) => return write_map(sink, payload),
        Body::Error(error) => {
            sink.begin_map(3)?;
            write_text(sink, 0, field!("error_code"), error.code.as_str());
            write_text(sink, 1, field!("error_message"), &error.message);
            sink.field(2, field!("error_details"));
            write_map(sink, &error.details)?;
        }
        Body::Heartbeat(heartbeat) => {
            let more = [
                (field!("endpoint"), &heartbeat.endpoint),
                (field!("instance"), &heartbeat.instance),
            ];
            sink.begin_map(2 + set(&more))?;
            write_text(sink, 0, field!("agent_name"), &heartbeat.agent_name);
            write_text(sink, 1, field!("status"), &heartbeat.status);
            write_set(sink, 2, &more);
        }
        Body::Register(register) => {
            let more = [
                (field!("version"), &register.version),
                (field!("instance"), &register.instance),
            ];
            sink.begin_map(4 + set(&more))?;
            write_text(sink, 0, field!("agent_name"), &register.agent_name);
            sink.field(1, field!("capabilities"));
            write_map(sink, &register.capabilities)?;
            write_text(sink, 2, field!("endpoint"), &register.endpoint);
            sink.field(3, field!("metadata"));
            write_map(sink, &register.metadata)?;
            write_set(sink, 4, &more);
        }
        Body::Unregister(unregister) => {
            let all = [
                (field!("agent_name"), &unregister.agent_name),
                (field!("endpoint"), &unregister.endpoint),
                (field!("instance"), &unregister.instance),
            ];
            sink.begin_map(set(&all))?;
            write_set(sink, 0, &all);
        }
        Body::StreamEnd => sink.begin_map(0)?,
    }
    sink.end_map();
    Ok(())
}

fn write_call<S: Sink>(sink: &mut S, method: &str, call: &Call) -> Result<(), EncodeError> {
    let named = usize::from(!call.agent_name.is_empty());
    sink.begin_map(2 + named)?;
    write_text(sink, 0, field!("method"), method);
    if named == 1 {
        write_text(sink, 1, field!("agent_name"), &call.agent_name);
    }
    sink.field(1 + named, field!("message"));
    write_message(sink, &call.message)?;
    sink.end_map();
    Ok(())
}

fn write_execute<S: Sink>(sink: &mut S, execute: &Execute) -> Result<(), EncodeError> {
    if execute.tool_name.is_empty() {
        return Err(EncodeError::EmptyToolName);
    }
    sink.begin_map(3)?;
    write_text(sink, 0, field!("method"), "execute");
    write_text(sink, 1, field!("tool_name"), &execute.tool_name);
    sink.field(2, field!("kwargs"));
    write_map(sink, &execute.kwargs)?;
    sink.end_map();
    Ok(())
}

/// Writes a message (PROTOCOL 3.1): all four keys, whatever they hold.
pub(crate) fn write_message<S: Sink>(sink: &mut S, message: &Message) -> Result<(), EncodeError> {
    if message.role.is_empty() {
        return Err(EncodeError::EmptyRole);
    }
    sink.begin_map(4)?;
    write_text(sink, 0, field!("role"), &message.role);
    sink.field(1, field!("content"));
    write_value(sink, &message.content)?;
    sink.field(2, field!("metadata"));
    write_map(sink, &message.metadata)?;
    sink.field(3, field!("timestamp"));
    sink.plain(message.timestamp.written().as_bytes());
    sink.end_map();
    Ok(())
}

fn write_tool_result<S: Sink>(sink: &mut S, result: &ToolResult) -> Result<(), EncodeError> {
    if !result.success && result.error.as_ref().is_none_or(String::is_empty) {
        return Err(EncodeError::MissingToolError);
    }
    sink.begin_map(4)?;
    sink.field(0, field!("success"));
    sink.bool(result.success);
    sink.field(1, field!("data"));
    write_value(sink, &result.data)?;
    sink.field(2, field!("error"));
    match &result.error {
        Some(error) => sink.text(error),
        None => sink.null(),
    }
    sink.field(3, field!("metadata"));
    write_map(sink, &result.metadata)?;
    sink.end_map();
    Ok(())
}

fn write_text<S: Sink>(sink: &mut S, index: usize, field: Field, text: &str) {
    sink.field(index, field);
    sink.text(text);
}

/// How many of these are set, and so are written.
fn set(fields: &[(Field, &Option<String>)]) -> usize {
    fields.iter().filter(|(_, text)| text.is_some()).count()
}

fn write_set<S: Sink>(sink: &mut S, first: usize, fields: &[(Field, &Option<String>)]) {
    let texts = fields.iter();
    let texts = texts.filter_map(|(field, text)| Some((*field, text.as_ref()?)));
    for (index, (field, text)) in texts.enumerate() {
        write_text(sink, first + index, field, text);
    }
}

/// Writes any value. The depth of the recursion is bounded by the sink.
pub(crate) fn write_value<S: Sink>(sink: &mut S, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Null => sink.null(),
        Value::Bool(flag) => sink.bool(*flag),
        Value::Integer(integer) => return sink.integer(integer),
        Value::Float(float) => sink.float(*float),
        Value::Text(text) => sink.text(text),
        Value::Bytes(bytes) => return sink.bytes(bytes),
        Value::List(list) => {
            sink.begin_list(list.len())?;
            for (index, element) in list.iter().enumerate() {
                sink.element(index);
                write_value(sink, element)?;
            }
            sink.end_list();
        }
        Value::Map(map) => return write_map(sink, map),
    }
    Ok(())
}

fn write_map<S: Sink>(sink: &mut S, map: &Map) -> Result<(), EncodeError> {
    sink.begin_map(map.len())?;
    for (index, (key, value)) in map.iter().enumerate() {
        sink.key(index, key);
        write_value(sink, value)?;
    }
    sink.end_map();
    Ok(())
}
