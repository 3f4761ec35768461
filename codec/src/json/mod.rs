//! JSON in the exact format of CPython's `json.dumps` ([PROTOCOL 4]).
//!
//! [PROTOCOL 4]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text

mod convert;
mod float;
mod read;
mod scan;
mod value_text;
mod write;

pub use self::convert::ToJsonError;
pub(crate) use self::read::{COSTS, scan_memory};
use self::{read::JsonReader, write::JsonWriter};
use crate::{
    DecodeError, DecodeFault, EncodeError, Envelope, Value,
    schema::{self, Detail, FormatReader, ReadError},
};

/// Parses JSON text that consists of one value. Only the length of the text limits the memory that
/// the value uses.
///
/// # Errors
///
/// Returns [`DecodeFault::Syntax`] if the text is not valid according to [PROTOCOL 4.8].
///
/// [PROTOCOL 4.8]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text
pub fn from_slice(text: &[u8]) -> Result<Value, DecodeFault> {
    let read = || {
        let mut reader = JsonReader::new(text, usize::MAX)?;
        let value = reader.value()?;
        reader.finish()?;
        Ok(value)
    };
    read().map_err(fault)
}

/// Encodes a value as JSON and appends it to `buffer`.
///
/// # Errors
///
/// Returns an error if JSON cannot represent the value or if the value is nested too deeply. The
/// bytes that were already appended remain in `buffer`.
pub fn write(value: &Value, buffer: &mut Vec<u8>) -> Result<(), EncodeError> {
    schema::write_value(&mut <JsonWriter<'_>>::new(buffer), value)
}

pub(crate) fn decode_envelope(
    payload: &[u8],
    detail: Detail,
    max_memory: usize,
) -> Result<(Envelope, usize), DecodeError> {
    match JsonReader::new(payload, max_memory) {
        Ok(reader) => schema::decode(reader, detail),
        Err(syntax) => Err(DecodeError::new(None, None, fault(syntax.into()))),
    }
}

pub(crate) fn encode_envelope(
    envelope: &Envelope,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    schema::encode(&mut <JsonWriter<'_>>::new(buffer), envelope)
}

/// Encodes an envelope in the compact form (PROTOCOL 4.10).
#[cold]
pub(crate) fn encode_compact_envelope(
    envelope: &Envelope,
    buffer: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    schema::encode(&mut JsonWriter::<true>::new(buffer), envelope)
}

fn fault(error: ReadError) -> DecodeFault {
    error.into_fault(<JsonReader<'_> as FormatReader<'_>>::FORMAT)
}
