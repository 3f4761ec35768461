use super::fields::{read_map, read_object, read_text, set, syntax, wrong_kind};
use crate::{DecodeFault, Message, Role, Timestamp, ToolResult, Value, schema::Source};

pub(super) fn read_message<'de, S: Source<'de>>(source: &mut S) -> Result<Message, DecodeFault> {
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

pub(super) fn read_tool_result<'de, S: Source<'de>>(
    source: &mut S,
) -> Result<ToolResult, DecodeFault> {
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
