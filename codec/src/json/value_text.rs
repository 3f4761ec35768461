//! The text of a value: `FromStr` and `Display` of [`Value`], and `Display` of [`Message`].
//!
//! The impls live here so that the modules of the types do not depend on a format.

use std::{fmt, str::FromStr};

use super::{from_slice, write::JsonWriter};
use crate::{DecodeFault, EncodeError, Message, Value, schema};

/// Parses JSON, as [`json::from_slice`](crate::json::from_slice) does.
impl FromStr for Value {
    type Err = DecodeFault;

    fn from_str(json: &str) -> Result<Self, DecodeFault> {
        from_slice(json.as_bytes())
    }
}

/// Formats the value as JSON on one line, exactly as on the wire (PROTOCOL 4).
///
/// Bytes, which JSON does not have, appear as `b"…"`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text_of(|writer| schema::write_value(writer, self)))
    }
}

/// Formats the message as JSON on one line, exactly as on the wire.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text_of(|writer| schema::write_message(writer, self)))
    }
}

/// Formatting must not fail, so the reason takes the place of a value that cannot be encoded.
fn text_of(write: impl FnOnce(&mut JsonWriter<'_>) -> Result<(), EncodeError>) -> String {
    let mut buffer = Vec::new();
    match write(&mut JsonWriter::for_display(&mut buffer)) {
        // The writer produces only ASCII.
        Ok(()) => String::from_utf8(buffer).unwrap_or_default(),
        Err(error) => format!("<{error}>"),
    }
}
