use crate::{
    DecodeFault, Map, Value,
    schema::{Source, Syntax},
};

/// Reads the payload object. `field` reads the value of a key that it knows and says so.
pub(super) fn read_fields<'de, S: Source<'de>>(
    source: &mut S,
    field: impl FnMut(&mut S, &str) -> Result<bool, DecodeFault>,
) -> Result<(), DecodeFault> {
    read_object(source, "payload", field)
}

/// Reads an object. What `field` cannot read is an error only if it is the last value of its key
/// (PROTOCOL 2.8).
pub(super) fn read_object<'de, S: Source<'de>>(
    source: &mut S,
    name: &str,
    mut field: impl FnMut(&mut S, &str) -> Result<bool, DecodeFault>,
) -> Result<(), DecodeFault> {
    let Some(mut cursor) = source.enter_map().map_err(syntax::<S>)? else {
        let value = source.value().map_err(syntax::<S>)?;
        return Err(wrong_kind(name, "an object", &value));
    };
    let mut faults = Vec::new();
    while let Some(key) = source.next_key(&mut cursor).map_err(syntax::<S>)? {
        let result = attempt(source, |source| field(source, &key))?;
        faults.retain(|(faulty, _)| *faulty != key);
        match result {
            Ok(true) => {}
            Ok(false) => {
                source.skip().map_err(syntax::<S>)?;
            }
            Err(fault) => faults.push((key, fault)),
        }
    }
    match faults.into_iter().next() {
        Some((_, fault)) => Err(fault),
        None => Ok(()),
    }
}

/// Text, or `None` for null.
pub(super) fn read_text<'de, S: Source<'de>>(
    source: &mut S,
    name: &str,
) -> Result<Option<String>, DecodeFault> {
    match source.text().map_err(syntax::<S>)? {
        Some(text) => Ok(Some(text.into_owned())),
        None => match source.value().map_err(syntax::<S>)? {
            Value::Null => Ok(None),
            other => Err(wrong_kind(name, "text", &other)),
        },
    }
}

/// A map; null stands for an empty one (PROTOCOL 2.7).
pub(super) fn read_map<'de, S: Source<'de>>(
    source: &mut S,
    name: &str,
) -> Result<Map, DecodeFault> {
    match source.value().map_err(syntax::<S>)? {
        Value::Map(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(wrong_kind(name, "an object", &other)),
    }
}

pub(super) fn text_or_value<'de, S: Source<'de>, T>(
    source: &mut S,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Result<T, Value>, DecodeFault> {
    Ok(match source.text().map_err(syntax::<S>)? {
        Some(text) => read(&text).ok_or_else(|| Value::from(&*text)),
        None => Err(source.value().map_err(syntax::<S>)?),
    })
}

/// Reads a value whose failure may turn out not to matter, and steps over it in any case.
pub(super) fn attempt<'de, S: Source<'de>, T>(
    source: &mut S,
    read: impl FnOnce(&mut S) -> Result<T, DecodeFault>,
) -> Result<Result<T, DecodeFault>, DecodeFault> {
    let start = source.mark();
    match read(source) {
        Err(fault @ DecodeFault::Syntax { .. }) => Err(fault),
        Err(fault) => {
            source.rewind(start);
            source.skip().map_err(syntax::<S>)?;
            Ok(Err(fault))
        }
        Ok(value) => Ok(Ok(value)),
    }
}

pub(super) fn set<T>(slot: &mut Option<T>, value: T) -> bool {
    *slot = Some(value);
    true
}

pub(super) fn syntax<'de, S: Source<'de>>(Syntax { reason, offset }: Syntax) -> DecodeFault {
    DecodeFault::Syntax {
        format: S::FORMAT,
        reason,
        offset,
    }
}

pub(super) fn missing(key: &str) -> DecodeFault {
    DecodeFault::Envelope {
        reason: format!("{key} is missing"),
    }
}

pub(super) fn message_missing() -> DecodeFault {
    DecodeFault::Message {
        reason: "message is missing".to_owned(),
        data: Value::Null,
    }
}

pub(super) fn wrong_kind(name: &str, expected: &str, found: &Value) -> DecodeFault {
    DecodeFault::Payload {
        reason: format!("{name} must be {expected}, not {}", found.kind()),
    }
}
