//! Helpers that decode objects key by key.

use agentwire_text::excerpt;

use crate::{
    DecodeFault, Map, Value,
    repeated::{MAX_REPEATED_LEN, description, repeatable_text},
    schema::{FormatReader, ReadError},
};

/// Decodes the payload object. The closure `field` decodes the value of a key and returns true, or
/// returns false for an unknown key.
pub(super) fn read_fields<'de, R: FormatReader<'de>>(
    reader: &mut R,
    field: impl FnMut(&mut R, &str) -> Result<bool, DecodeFault>,
) -> Result<(), DecodeFault> {
    read_object(reader, "payload", field)
}

/// Decodes an object. If a key is repeated, an error that `field` returns counts only for the last
/// value of the key (PROTOCOL 2.8).
pub(super) fn read_object<'de, R: FormatReader<'de>>(
    reader: &mut R,
    name: &str,
    mut field: impl FnMut(&mut R, &str) -> Result<bool, DecodeFault>,
) -> Result<(), DecodeFault> {
    let Some(mut cursor) = reader.enter_map().map_err(syntax_fault::<R>)? else {
        return Err(wrong_type(name, "an object", &read_refused(reader)?));
    };
    let mut faults = Vec::new();
    while let Some(key) = reader.next_key(&mut cursor).map_err(syntax_fault::<R>)? {
        let result = read_or_skip(reader, |reader| field(reader, &key))?;
        faults.retain(|(faulty, _)| *faulty != key);
        match result {
            Ok(true) => {}
            Ok(false) => {
                reader.skip().map_err(syntax_fault::<R>)?;
            }
            Err(fault) => faults.push((key, fault)),
        }
    }
    match faults.into_iter().next() {
        Some((_, fault)) => Err(fault),
        None => Ok(()),
    }
}

/// Decodes text, or returns `None` for null.
pub(super) fn read_text<'de, R: FormatReader<'de>>(
    reader: &mut R,
    name: &str,
) -> Result<Option<String>, DecodeFault> {
    match reader.text().map_err(syntax_fault::<R>)? {
        Some(text) => Ok(Some(text.into_owned())),
        None => match read_refused(reader)? {
            refused if refused.is_null() => Ok(None),
            refused => Err(wrong_type(name, "text", &refused)),
        },
    }
}

/// Decodes a map. Null is decoded as an empty map (PROTOCOL 2.7).
pub(super) fn read_map<'de, R: FormatReader<'de>>(
    reader: &mut R,
    name: &str,
) -> Result<Map, DecodeFault> {
    if let Some(map) = read_if_map(reader)? {
        return Ok(map);
    }
    match read_refused(reader)? {
        refused if refused.is_null() => Ok(Map::new()),
        refused => Err(wrong_type(name, "an object", &refused)),
    }
}

/// Decodes a map. If the next value is not a map, returns `None` and consumes nothing.
pub(super) fn read_if_map<'de, R: FormatReader<'de>>(
    reader: &mut R,
) -> Result<Option<Map>, DecodeFault> {
    if reader.next_kind() != "map" {
        return Ok(None);
    }
    match reader.value().map_err(syntax_fault::<R>)? {
        Value::Map(map) => Ok(Some(map)),
        // Unreachable, because the value has been checked to be a map.
        _ => Ok(None),
    }
}

/// Decodes an invalid value for the error message. A large value is not decoded but skipped and
/// replaced by a description.
pub(super) fn read_refused<'de, R: FormatReader<'de>>(
    reader: &mut R,
) -> Result<Refused, DecodeFault> {
    let start = reader.position();
    let kind = reader.next_kind();
    reader.skip().map_err(syntax_fault::<R>)?;
    let end = reader.position();
    let len = reader.len_since(start);
    reader.rewind(start);
    if len <= MAX_REPEATED_LEN {
        let value = reader.value().map_err(syntax_fault::<R>)?;
        return Ok(Refused {
            kind: value.kind(),
            value,
        });
    }
    let value = match reader.text().map_err(syntax_fault::<R>)? {
        Some(text) => Value::from(&*excerpt(&text)),
        None => description(kind, len).into(),
    };
    reader.rewind(end);
    Ok(Refused { kind, value })
}

/// An invalid value that a peer sent.
pub(super) struct Refused {
    kind: &'static str,
    /// The part of the value that the error can include.
    pub(super) value: Value,
}

impl Refused {
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    fn is_null(&self) -> bool {
        self.kind == "null"
    }
}

/// Decodes text and converts it with `read`. The inner error is a value that is not text, or text
/// that `read` rejects.
pub(super) fn text_or_value<'de, R: FormatReader<'de>, T>(
    reader: &mut R,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Result<T, Refused>, DecodeFault> {
    Ok(match reader.text().map_err(syntax_fault::<R>)? {
        Some(text) => read(&text).ok_or_else(|| Refused {
            kind: "text",
            value: repeatable_text(&text).into(),
        }),
        None => Err(read_refused(reader)?),
    })
}

/// Decodes a value, or skips the value if it is invalid. The caller may ignore the inner error.
///
/// A syntax error and exceeded memory are never ignored, so they are the outer error. Nothing is
/// read after exceeded memory, because the rest of a large payload may take long to skip.
pub(super) fn read_or_skip<'de, R: FormatReader<'de>, T>(
    reader: &mut R,
    read: impl FnOnce(&mut R) -> Result<T, DecodeFault>,
) -> Result<Result<T, DecodeFault>, DecodeFault> {
    let start = reader.position();
    match read(reader) {
        Err(fault @ (DecodeFault::Syntax { .. } | DecodeFault::Memory { .. })) => Err(fault),
        Err(fault) => {
            reader.rewind(start);
            reader.skip().map_err(syntax_fault::<R>)?;
            Ok(Err(fault))
        }
        Ok(value) => Ok(Ok(value)),
    }
}

/// Sets `slot` and returns true to report that the key is known.
pub(super) fn store<T>(slot: &mut Option<T>, value: T) -> bool {
    *slot = Some(value);
    true
}

pub(super) fn syntax_fault<'de, R: FormatReader<'de>>(error: impl Into<ReadError>) -> DecodeFault {
    error.into().into_fault(R::FORMAT)
}

pub(super) fn missing_key(key: &str) -> DecodeFault {
    DecodeFault::Envelope {
        reason: format!("{key} is missing"),
    }
}

pub(super) fn missing_message() -> DecodeFault {
    DecodeFault::Message {
        reason: "message is missing".to_owned(),
        data: Value::Null,
    }
}

pub(super) fn wrong_type(name: &str, expected: &str, found: &Refused) -> DecodeFault {
    DecodeFault::Payload {
        reason: format!("{name} must be {expected}, not {}", found.kind()),
    }
}
