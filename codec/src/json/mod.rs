//! JSON text, byte for byte as CPython's `json.dumps` writes it (PROTOCOL 4).

mod convert;
mod float;
mod read;
mod scan;
mod value_text;
mod write;

pub use self::convert::ToJsonError;
use self::{read::JsonReader, write::JsonWriter};
use crate::{
    DecodeError, DecodeFault, EncodeError, Envelope, Value,
    schema::{self, Detail, FormatReader, SyntaxError},
};

/// Parses one value.
///
/// # Errors
///
/// [`DecodeFault::Syntax`] if PROTOCOL 4.8 refuses the text.
pub fn from_slice(text: &[u8]) -> Result<Value, DecodeFault> {
    let read = || {
        let mut reader = JsonReader::new(text)?;
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    };
    read().map_err(syntax_fault)
}

/// Appends one value to `buffer`.
///
/// # Errors
///
/// JSON lacks the value, or the value is nested too deeply. The bytes appended so far stay in
/// `buffer`.
pub fn write(value: &Value, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    schema::write_value(&mut JsonWriter::new(buffer), value)
}

pub(crate) fn decode_envelope(payload: &[u8], detail: Detail) -> Result<Envelope, DecodeError> {
    match JsonReader::new(payload) {
        Ok(reader) => schema::decode(reader, detail),
        Err(syntax) => Err(DecodeError::new(None, None, syntax_fault(syntax))),
    }
}

pub(crate) fn encode_envelope(
    envelope: &Envelope,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    schema::encode(&mut JsonWriter::new(buffer), envelope)
}

fn syntax_fault(SyntaxError { reason, offset }: SyntaxError) -> DecodeFault {
    DecodeFault::Syntax {
        format: <JsonReader<'_> as FormatReader<'_>>::FORMAT,
        reason,
        offset,
    }
}
