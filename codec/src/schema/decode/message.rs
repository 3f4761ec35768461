//! Decodes messages and tool results.

use super::fields::{
    read_map, read_object, read_refused, read_text, store, syntax_fault, wrong_type,
};
use crate::{DecodeFault, Message, Role, Timestamp, ToolResult, Value, schema::FormatReader};

pub(super) fn read_message<'de, R: FormatReader<'de>>(
    reader: &mut R,
) -> Result<Message, DecodeFault> {
    let start = reader.position();
    match read_message_fields(reader) {
        Err(DecodeFault::Payload { reason }) => {
            reader.rewind(start);
            let data = read_refused(reader)?.value;
            Err(DecodeFault::Message { reason, data })
        }
        result => result,
    }
}

fn read_message_fields<'de, R: FormatReader<'de>>(reader: &mut R) -> Result<Message, DecodeFault> {
    let (mut role, mut content, mut metadata, mut timestamp) = (None, None, None, None);
    read_object(reader, "message", |reader, key| {
        Ok(match key {
            "role" => match reader.text().map_err(syntax_fault::<R>)? {
                Some(text) => store(&mut role, Role::from(&*text)),
                None => return Err(wrong_type("role", "text", &read_refused(reader)?)),
            },
            "content" => store(&mut content, reader.value().map_err(syntax_fault::<R>)?),
            "metadata" => store(&mut metadata, read_map(reader, key)?),
            "timestamp" => store(&mut timestamp, read_timestamp(reader)?),
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

/// Decodes a timestamp. A null or empty timestamp is equivalent to a missing timestamp (PROTOCOL
/// 3.3).
fn read_timestamp<'de, R: FormatReader<'de>>(
    reader: &mut R,
) -> Result<Option<Timestamp>, DecodeFault> {
    match reader.text().map_err(syntax_fault::<R>)? {
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => match text.parse() {
            Ok(time) => Ok(Some(time)),
            Err(error) => Err(DecodeFault::Payload {
                reason: format!("timestamp is {error}"),
            }),
        },
        None => match read_refused(reader)? {
            refused if refused.kind() == "null" => Ok(None),
            refused => Err(wrong_type("timestamp", "text", &refused)),
        },
    }
}

pub(super) fn read_tool_result<'de, R: FormatReader<'de>>(
    reader: &mut R,
) -> Result<ToolResult, DecodeFault> {
    let (mut success, mut data, mut error, mut metadata) = (None, None, None, None);
    read_object(reader, "result", |reader, key| {
        Ok(match key {
            "success" => {
                let refused = read_refused(reader)?;
                match refused.value {
                    Value::Bool(flag) => store(&mut success, flag),
                    _ => return Err(wrong_type("success", "a bool", &refused)),
                }
            }
            "data" => store(&mut data, reader.value().map_err(syntax_fault::<R>)?),
            "error" => store(&mut error, read_text(reader, key)?),
            "metadata" => store(&mut metadata, read_map(reader, key)?),
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
