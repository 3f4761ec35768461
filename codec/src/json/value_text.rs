//! `FromStr` and `Display` for [`Value`], and `Display` for [`Message`].
//!
//! The implementations are in this module so that the modules of the types do not depend on a
//! format.

use std::{fmt, str::FromStr};

use super::{from_slice, write::JsonWriter};
use crate::{DecodeFault, EncodeError, Message, Value, schema};

/// Parses JSON, like [`json::from_slice`](crate::json::from_slice).
impl FromStr for Value {
    type Err = DecodeFault;

    fn from_str(json: &str) -> Result<Self, DecodeFault> {
        from_slice(json.as_bytes())
    }
}

/// Formats the value as JSON on one line, exactly as on the wire (PROTOCOL 4).
///
/// Bytes have no JSON form and are shown as `b"…"`.
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

/// Returns the written text. Formatting must not fail, so a value that cannot be encoded is
/// replaced by the error message.
fn text_of(write: impl FnOnce(&mut JsonWriter<'_>) -> Result<(), EncodeError>) -> String {
    let mut buffer = Vec::new();
    match write(&mut <JsonWriter<'_>>::for_display(&mut buffer)) {
        // The writer produces only ASCII.
        Ok(()) => String::from_utf8(buffer).unwrap_or_default(),
        Err(error) => format!("<{error}>"),
    }
}
