//! The texts that hold values: the content of messages, tool calls and results, and metadata.

use std::collections::BTreeMap;

use agentwire_codec::{EncodeError, Map, Value, json};

use crate::json_text::is_json;

/// Writes the content of a message. Text that a reader would take for JSON is written as a JSON
/// string, which every reader reads as the same text.
pub(crate) fn write_content(content: Value) -> Result<String, EncodeError> {
    match content {
        Value::Text(text) if is_json(&text) => write_json(&Value::Text(text)),
        Value::Text(text) => Ok(text),
        other => write_json(&other),
    }
}

/// Reads the content of a message: JSON, or else the text itself.
pub(crate) fn read_content(text: String) -> Value {
    if !may_be_json(text.as_bytes()) {
        return Value::Text(text);
    }
    json::from_slice(text.as_bytes()).unwrap_or(Value::Text(text))
}

/// Returns whether a text may be JSON. Most texts of people are not, as their first character
/// shows.
pub(crate) fn may_be_json(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    let first = bytes.find(|byte| !b" \t\n\r".contains(byte));
    first.is_some_and(|first| b"\"[{-0123456789tfnNI".contains(first))
}

pub(crate) fn write_json(value: &Value) -> Result<String, EncodeError> {
    let mut text = Vec::new();
    json::write(value, &mut text)?;
    // The writer produces only ASCII.
    Ok(String::from_utf8(text).unwrap_or_default())
}

/// Writes the details of an error, each like the content of a message.
pub(crate) fn write_details(map: Map) -> Result<BTreeMap<String, String>, EncodeError> {
    map.into_iter()
        .map(|(key, value)| Ok((key, write_content(value)?)))
        .collect()
}

pub(crate) fn read_details(texts: BTreeMap<String, String>) -> Map {
    let texts = texts.into_iter();
    texts.map(|(key, text)| (key, read_content(text))).collect()
}

/// Writes metadata. A value that is not text is written as JSON.
pub(crate) fn write_texts(map: Map) -> Result<BTreeMap<String, String>, EncodeError> {
    map.into_iter()
        .map(|(key, value)| match value {
            Value::Text(text) => Ok((key, text)),
            other => Ok((key, write_json(&other)?)),
        })
        .collect()
}

pub(crate) fn read_texts(texts: BTreeMap<String, String>) -> Map {
    texts.into_iter().collect()
}
