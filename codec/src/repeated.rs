//! The parts of rejected values that error replies include.

use std::borrow::Cow;

use agentwire_text::excerpt;

use crate::{Map, Value};

/// Returns the part of a value that the details of an error can include ([PROTOCOL 7.5]).
///
/// A value with at most [`MAX_REPEATED_LEN`] bytes is returned unchanged, except for credentials:
/// the values of the keys in [PROTOCOL 14.1] are masked, because errors are logged. A longer text
/// or number is truncated. Any other longer value is replaced by a description of its kind and
/// size.
///
/// [PROTOCOL 14.1]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#14-security
/// [PROTOCOL 7.5]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#7-errors
#[must_use]
pub fn repeatable(value: &Value) -> Value {
    if is_small(value, &mut { MAX_REPEATED_LEN }) {
        return masked(value);
    }
    match value {
        Value::Text(text) => repeatable_text(text).into(),
        Value::List(list) => format!("list of {} elements", list.len()).into(),
        Value::Map(map) => format!("object of {} entries", map.len()).into(),
        Value::Bytes(bytes) => description("bytes", bytes.len()).into(),
        number => excerpt(&number.to_string()).into(),
    }
}

/// Returns the part of a text that an error can include, like [`repeatable`].
#[must_use]
pub fn repeatable_text(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_REPEATED_LEN {
        Cow::Borrowed(text)
    } else {
        excerpt(text)
    }
}

/// Returns a description of a value that is too large to be included.
pub(crate) fn description(kind: &str, len: usize) -> String {
    match kind {
        "map" => format!("object of {len} bytes"),
        "bytes" => format!("{len} bytes"),
        kind => format!("{kind} of {len} bytes"),
    }
}

/// Returns a small value without credentials.
fn masked(value: &Value) -> Value {
    let is_credential = |key: &str| {
        CREDENTIALS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(key))
    };
    match value {
        Value::Map(map) => {
            let entries = map.iter().map(|(key, value)| match value {
                value if !is_credential(key) => (key.to_owned(), masked(value)),
                Value::Null => (key.to_owned(), Value::Null),
                _ => (key.to_owned(), "***".into()),
            });
            Value::Map(entries.collect::<Map>())
        }
        Value::List(list) => list.iter().map(masked).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// The keys of credentials.
const CREDENTIALS: [&str; 3] = ["authorization", "token", "api_key"];

/// Subtracts the size of a value from `bytes_left`. Returns false if the size exceeds `bytes_left`.
fn is_small(value: &Value, bytes_left: &mut usize) -> bool {
    let own = match value {
        Value::Text(text) => text.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::Integer(integer) if integer.as_i128().is_none() => integer.to_string().len(),
        _ => 0,
    };
    let Some(rest) = bytes_left.checked_sub(own + 1) else {
        return false;
    };
    *bytes_left = rest;
    match value {
        Value::List(list) => list.iter().all(|element| is_small(element, bytes_left)),
        Value::Map(map) => map.iter().all(|(key, value)| {
            let is_key_small = bytes_left.checked_sub(key.len());
            is_key_small.is_some_and(|rest| {
                *bytes_left = rest;
                is_small(value, bytes_left)
            })
        }),
        _ => true,
    }
}

/// The maximum size in bytes of a value that an error includes unchanged.
pub const MAX_REPEATED_LEN: usize = 512;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::value;

    #[test]
    fn credentials_are_not_repeated() {
        let value = value!({
            "a": [{"token": "secret", "x": 1}], "Authorization": "Bearer secret",
            "b": {"api_key": ["secret"], "token": null}
        });
        let expected = value!({
            "a": [{"token": "***", "x": 1}], "Authorization": "***",
            "b": {"api_key": "***", "token": null}
        });
        assert_eq!(repeatable(&value), expected);
    }

    #[test]
    fn small_values_are_repeated_and_large_ones_described() {
        for value in [
            Value::Null,
            value!({"a": [1, "text", 2.5, {"b": null}]}),
            "x".repeat(512).into(),
            value!([1, 2, 3]),
        ] {
            assert_eq!(repeatable(&value), value);
        }
        let nested = (0..600).fold(Value::Null, |inner, _| vec![inner].into());
        for (value, expected) in [
            ("x".repeat(513).into(), "x".repeat(200) + "… (513 bytes)"),
            (vec![0; 600].into(), "list of 600 elements".to_owned()),
            (
                value!({"a": ("x".repeat(600))}),
                "object of 1 entries".to_owned(),
            ),
            (
                Value::from(Map::from([("k".repeat(600), 0)])),
                "object of 1 entries".to_owned(),
            ),
            (Bytes::from(vec![0; 600]).into(), "600 bytes".to_owned()),
            (nested, "list of 1 elements".to_owned()),
        ] {
            assert_eq!(repeatable(&value), Value::from(expected));
        }
    }
}
