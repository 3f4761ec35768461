//! Writes envelopes through a [`FormatWriter`].

use super::writer::{Field, FormatWriter, field};
use crate::{
    Body, Call, Delivery, EncodeError, Envelope, Execute, Map, Message, PROTOCOL_VERSION, Request,
    Response, ToolResult, Value,
};

/// Writes an envelope with its keys in the order that PROTOCOL 2 defines.
pub(crate) fn encode<W: FormatWriter>(
    writer: &mut W,
    envelope: &Envelope,
) -> Result<(), EncodeError> {
    let timed = usize::from(envelope.timestamp.is_some());
    let unknown = match &envelope.body {
        Body::Raw(raw) => Some(&raw.unknown),
        _ => None,
    };
    writer.begin_map(4 + timed + unknown.map_or(0, Map::len))?;
    writer.field(0, field!("version"));
    writer.ascii_text(PROTOCOL_VERSION.as_bytes());
    writer.field(1, field!("type"));
    writer.ascii_text(envelope.body.kind().as_str().as_bytes());
    writer.field(2, field!("id"));
    envelope.id.write(writer);
    if let Some(sent_at) = &envelope.timestamp {
        writer.field(3, field!("timestamp"));
        sent_at.write(writer);
    }
    writer.field(3 + timed, field!("payload"));
    write_payload(writer, &envelope.body)?;
    for (index, (key, value)) in unknown.into_iter().flatten().enumerate() {
        writer.key(5 + index, key);
        write_value(writer, value)?;
    }
    writer.end_map();
    Ok(())
}

fn write_payload<W: FormatWriter>(writer: &mut W, body: &Body) -> Result<(), EncodeError> {
    match body {
        Body::Request(Request::Process(call)) => return write_call(writer, "process", call),
        Body::Request(Request::Stream(call)) => return write_call(writer, "stream", call),
        Body::Request(Request::Execute(execute)) => return write_execute(writer, execute),
        Body::Request(Request::Other(payload)) => return write_map(writer, payload),
        Body::Response(Response::Message(message)) | Body::StreamChunk(message) => {
            writer.begin_map(1)?;
            writer.field(0, field!("message"));
            write_message(writer, message)?;
        }
        Body::Response(Response::Tool(result)) => {
            writer.begin_map(1)?;
            writer.field(0, field!("result"));
            write_tool_result(writer, result)?;
        }
        Body::Response(Response::Other(payload)) => return write_map(writer, payload),
        Body::Error(error) => {
            writer.begin_map(3)?;
            write_text(writer, 0, field!("error_code"), error.code.as_str());
            write_text(writer, 1, field!("error_message"), &error.message);
            writer.field(2, field!("error_details"));
            write_map(writer, &error.details)?;
        }
        Body::Heartbeat(heartbeat) => {
            let more = [
                (field!("endpoint"), &heartbeat.endpoint),
                (field!("instance"), &heartbeat.instance),
                (field!("owner"), &heartbeat.owner),
            ];
            let fields = 2 + count_present(&more);
            writer.begin_map(fields + count_metadata(&heartbeat.metadata))?;
            write_text(writer, 0, field!("agent_name"), &heartbeat.agent_name);
            write_text(writer, 1, field!("status"), &heartbeat.status);
            write_present(writer, 2, &more);
            write_metadata(writer, fields, &heartbeat.metadata)?;
        }
        Body::Register(register) => {
            let more = [
                (field!("version"), &register.version),
                (field!("instance"), &register.instance),
                (field!("machine"), &register.machine),
                (field!("owner"), &register.owner),
            ];
            writer.begin_map(4 + count_present(&more))?;
            write_text(writer, 0, field!("agent_name"), &register.agent_name);
            writer.field(1, field!("capabilities"));
            write_map(writer, &register.capabilities)?;
            write_text(writer, 2, field!("endpoint"), &register.endpoint);
            writer.field(3, field!("metadata"));
            write_map(writer, &register.metadata)?;
            write_present(writer, 4, &more);
        }
        Body::Unregister(unregister) => {
            let all = [
                (field!("agent_name"), &unregister.agent_name),
                (field!("endpoint"), &unregister.endpoint),
                (field!("instance"), &unregister.instance),
                (field!("owner"), &unregister.owner),
            ];
            let fields = count_present(&all);
            writer.begin_map(fields + count_metadata(&unregister.metadata))?;
            write_present(writer, 0, &all);
            write_metadata(writer, fields, &unregister.metadata)?;
        }
        Body::StreamEnd => writer.begin_map(0)?,
        Body::Raw(raw) => return write_map(writer, &raw.payload),
    }
    writer.end_map();
    Ok(())
}

fn write_call<W: FormatWriter>(
    writer: &mut W,
    method: &str,
    call: &Call,
) -> Result<(), EncodeError> {
    let named = usize::from(!call.agent_name.is_empty());
    let delivery = count_delivery(&call.delivery);
    writer.begin_map(2 + named + delivery)?;
    write_text(writer, 0, field!("method"), method);
    if named == 1 {
        write_text(writer, 1, field!("agent_name"), &call.agent_name);
    }
    writer.field(1 + named, field!("message"));
    write_message(writer, &call.message)?;
    write_delivery(writer, 2 + named, &call.delivery)?;
    writer.end_map();
    Ok(())
}

fn write_execute<W: FormatWriter>(writer: &mut W, execute: &Execute) -> Result<(), EncodeError> {
    if execute.tool_name.is_empty() {
        return Err(EncodeError::EmptyToolName);
    }
    let fields = 3 + count_metadata(&execute.metadata);
    writer.begin_map(fields + count_delivery(&execute.delivery))?;
    write_text(writer, 0, field!("method"), "execute");
    write_text(writer, 1, field!("tool_name"), &execute.tool_name);
    writer.field(2, field!("kwargs"));
    write_map(writer, &execute.kwargs)?;
    write_metadata(writer, 3, &execute.metadata)?;
    write_delivery(writer, fields, &execute.delivery)?;
    writer.end_map();
    Ok(())
}

/// Writes a message, always with all four keys (PROTOCOL 3.1).
pub(crate) fn write_message<W: FormatWriter>(
    writer: &mut W,
    message: &Message,
) -> Result<(), EncodeError> {
    if message.role.is_empty() {
        return Err(EncodeError::EmptyRole);
    }
    writer.begin_map(4)?;
    write_text(writer, 0, field!("role"), &message.role);
    writer.field(1, field!("content"));
    write_value(writer, &message.content)?;
    writer.field(2, field!("metadata"));
    write_map(writer, &message.metadata)?;
    writer.field(3, field!("timestamp"));
    writer.ascii_text(message.timestamp.to_text().as_bytes());
    writer.end_map();
    Ok(())
}

fn write_tool_result<W: FormatWriter>(
    writer: &mut W,
    result: &ToolResult,
) -> Result<(), EncodeError> {
    if !result.success && result.error.as_ref().is_none_or(String::is_empty) {
        return Err(EncodeError::MissingToolError);
    }
    writer.begin_map(4)?;
    writer.field(0, field!("success"));
    writer.bool(result.success);
    writer.field(1, field!("data"));
    write_value(writer, &result.data)?;
    writer.field(2, field!("error"));
    match &result.error {
        Some(error) => writer.text(error),
        None => writer.null(),
    }
    writer.field(3, field!("metadata"));
    write_map(writer, &result.metadata)?;
    writer.end_map();
    Ok(())
}

fn write_text<W: FormatWriter>(writer: &mut W, index: usize, field: Field, text: &str) {
    writer.field(index, field);
    writer.text(text);
}

/// Returns the number of fields that are present.
fn count_present(fields: &[(Field, &Option<String>)]) -> usize {
    fields.iter().filter(|(_, text)| text.is_some()).count()
}

fn write_present<W: FormatWriter>(
    writer: &mut W,
    first: usize,
    fields: &[(Field, &Option<String>)],
) {
    let texts = fields.iter();
    let texts = texts.filter_map(|(field, text)| Some((*field, text.as_ref()?)));
    for (index, (field, text)) in texts.enumerate() {
        write_text(writer, first + index, field, text);
    }
}

fn count_metadata(metadata: &Map) -> usize {
    usize::from(!metadata.is_empty())
}

/// Writes the metadata of a request that has no message, unless the metadata is empty.
fn write_metadata<W: FormatWriter>(
    writer: &mut W,
    index: usize,
    metadata: &Map,
) -> Result<(), EncodeError> {
    if metadata.is_empty() {
        return Ok(());
    }
    writer.field(index, field!("metadata"));
    write_map(writer, metadata)
}

/// Returns the number of keys that are present.
fn count_delivery(delivery: &Delivery) -> usize {
    usize::from(delivery.deadline_ms.is_some()) + usize::from(delivery.idempotency_key.is_some())
}

fn write_delivery<W: FormatWriter>(
    writer: &mut W,
    first: usize,
    delivery: &Delivery,
) -> Result<(), EncodeError> {
    let mut index = first;
    if let Some(millis) = delivery.deadline_ms {
        writer.field(index, field!("deadline_ms"));
        writer.integer(&millis.into())?;
        index += 1;
    }
    if let Some(key) = &delivery.idempotency_key {
        write_text(writer, index, field!("idempotency_key"), key);
    }
    Ok(())
}

/// Writes any value. The recursion depth is bounded, because the writer rejects deeply nested
/// values.
pub(crate) fn write_value<W: FormatWriter>(
    writer: &mut W,
    value: &Value,
) -> Result<(), EncodeError> {
    match value {
        Value::Null => writer.null(),
        Value::Bool(flag) => writer.bool(*flag),
        Value::Integer(integer) => return writer.integer(integer),
        Value::Float(float) => writer.float(*float),
        Value::Text(text) => writer.text(text),
        Value::Bytes(bytes) => return writer.bytes(bytes),
        Value::List(list) => {
            writer.begin_list(list.len())?;
            for (index, element) in list.iter().enumerate() {
                writer.element(index);
                write_value(writer, element)?;
            }
            writer.end_list();
        }
        Value::Map(map) => return write_map(writer, map),
    }
    Ok(())
}

fn write_map<W: FormatWriter>(writer: &mut W, map: &Map) -> Result<(), EncodeError> {
    writer.begin_map(map.len())?;
    for (index, (key, value)) in map.iter().enumerate() {
        writer.key(index, key);
        write_value(writer, value)?;
    }
    writer.end_map();
    Ok(())
}
