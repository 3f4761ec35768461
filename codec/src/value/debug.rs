//! The `Debug` output of [`Value`] and [`Map`]: an outline without content, or the entire content.

use std::{cell::Cell, fmt};

use super::{Map, Value};
use crate::fingerprint::{Fingerprint, PrivateText};

/// Formats the structure without the content, which is safe to log. The alternate form `{:#?}`
/// shows the entire content, for developers.
///
/// The structure consists of the kind, the size and a fingerprint of each value. Equal values have
/// equal fingerprints, so a failed `assert_eq!` shows which key or element differs. Fingerprints
/// depend on a random key per process and cannot be compared between processes. A map key is shown
/// if it looks like a field name: at most 32 characters, all of them ASCII letters, `_` or `-`. The
/// output is bounded: after 64 values, the remaining values are shown as a count and one
/// fingerprint.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::value;
///
/// let value = value!({"city": "Oslo", "days": [1, null]});
/// let outline = format!("{value:?}"); // {city: text(4)#5e0c41d7, days: [integer#90b2f3aa, null]}
/// assert!(outline.starts_with("{city: text(4)#") && !outline.contains("Oslo"));
/// assert!(format!("{value:#?}").contains(r#""city": "Oslo""#));
/// ```
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return write_content(self, f);
        }
        write_outline(self, &Cell::new(MAX_VALUES), f)
    }
}

/// Formats the structure without the content. The alternate form `{:#?}` shows the content too. See
/// [`Value`](Value#impl-Debug-for-Value).
impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.debug_map().entries(self).finish();
        }
        write_map(self, &Cell::new(MAX_VALUES), f)
    }
}

fn write_content(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match value {
        Value::Null => f.write_str("null"),
        Value::Bool(flag) => fmt::Debug::fmt(flag, f),
        Value::Integer(integer) => fmt::Debug::fmt(integer, f),
        Value::Float(float) => fmt::Debug::fmt(float, f),
        Value::Text(text) => fmt::Debug::fmt(text, f),
        Value::Bytes(bytes) => fmt::Debug::fmt(bytes, f),
        Value::List(list) => f.debug_list().entries(list).finish(),
        Value::Map(map) => fmt::Debug::fmt(map, f),
    }
}

/// Writes the structure of a value. Each element and each entry decrements `values_left`.
fn write_outline(
    value: &Value,
    values_left: &Cell<usize>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match value {
        Value::Null => f.write_str("null"),
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {
            write!(f, "{}{}", value.kind(), Fingerprint::of(value))
        }
        Value::Text(text) => fmt::Debug::fmt(&PrivateText(text), f),
        Value::Bytes(bytes) => write!(f, "bytes({}){}", bytes.len(), Fingerprint::of(bytes)),
        Value::List(list) => write_list(list, values_left, f),
        Value::Map(map) => write_map(map, values_left, f),
    }
}

fn write_list(
    list: &[Value],
    values_left: &Cell<usize>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.write_str("[")?;
    for (index, element) in list.iter().enumerate() {
        write_separator(index, f)?;
        if !take_one(values_left) {
            let rest = &list[index..];
            write!(f, "… {} more{}", rest.len(), Fingerprint::of(rest))?;
            break;
        }
        write_outline(element, values_left, f)?;
    }
    f.write_str("]")
}

fn write_map(map: &Map, values_left: &Cell<usize>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("{")?;
    let mut entries = map.iter();
    for index in 0..map.len() {
        write_separator(index, f)?;
        if !take_one(values_left) {
            let rest: Vec<_> = entries.collect();
            write!(f, "… {} more{}", rest.len(), Fingerprint::of(&rest))?;
            break;
        }
        if let Some((key, value)) = entries.next() {
            if is_field_name(key) {
                write!(f, "{key}: ")?;
            } else {
                write!(f, "key({}){}: ", key.len(), Fingerprint::of(key))?;
            }
            write_outline(value, values_left, f)?;
        }
    }
    f.write_str("}")
}

fn write_separator(index: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(if index == 0 { "" } else { ", " })
}

fn take_one(values_left: &Cell<usize>) -> bool {
    let left = values_left.get();
    values_left.set(left.saturating_sub(1));
    left > 0
}

/// Returns true if the key looks like a field name. Other keys may be private data, such as phone
/// numbers, tokens or addresses.
fn is_field_name(key: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-');
    (1..=MAX_KEY_LEN).contains(&key.len()) && key.bytes().all(is_name_byte)
}

/// The maximum number of elements and entries in an outline, at all levels together.
const MAX_VALUES: usize = 64;

/// The maximum length in bytes of a key that an outline shows.
const MAX_KEY_LEN: usize = 32;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{map, value};

    /// Returns the outline with `#` in place of each fingerprint.
    fn outline(value: &Value) -> String {
        let text = format!("{value:?}");
        let mut pieces = text.split('#');
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |text, piece| text + "#" + &piece[8..])
    }

    #[test]
    fn an_outline_shows_structure_and_no_content() {
        for (value, expected) in [
            (Value::Null, "null"),
            (value!(true), "bool#"),
            (value!(1), "integer#"),
            (value!(1.5), "float#"),
            (value!("h\u{e9}"), "text(3)#"),
            (Bytes::from_static(b"raw").into(), "bytes(3)#"),
            (value!([]), "[]"),
            (value!([null, [1]]), "[null, [integer#]]"),
            (value!({}), "{}"),
            (
                value!({"city": "Oslo", "a-b_C": {"": 1}, "hunter2": null}),
                "{city: text(4)#, a-b_C: {key(0)#: integer#}, key(7)#: null}",
            ),
        ] {
            assert_eq!(outline(&value), expected);
        }
    }

    #[test]
    fn outlines_of_equal_values_are_equal_and_show_what_differs() {
        let oslo = value!({"city": "Oslo", "days": [1, 2]});
        let rome = value!({"city": "Rome", "days": [1, 2]});
        assert_eq!(format!("{oslo:?}"), format!("{:?}", oslo.clone()));
        let [oslo, rome] = [oslo, rome].map(|value| format!("{value:?}"));
        let differing: Vec<_> = oslo
            .split(", ")
            .zip(rome.split(", "))
            .filter(|(a, b)| a != b)
            .collect();
        assert!(
            matches!(differing[..], [(a, _)] if a.starts_with("{city: ")),
            "{differing:?}"
        );
    }

    #[test]
    fn an_outline_is_bounded_and_still_shows_that_its_end_differs() {
        let long: Value = (0..1_000_000).collect();
        let mut other = long.clone();
        if let Value::List(list) = &mut other {
            list[999_999] = Value::Null;
        }
        assert!(outline(&long).ends_with(", integer#, … 999936 more#]"));
        assert!(format!("{long:?}").len() < 2000);
        assert_ne!(format!("{long:?}"), format!("{other:?}"));

        let wide: Map = (0..100)
            .map(|i| ("x".repeat(i % 30 + 1) + "-", i))
            .collect();
        assert!(format!("{wide:?}").len() < 5000);
        let nested = (0..200).fold(Value::Null, |inner, _| vec![inner].into());
        assert_eq!(
            outline(&nested),
            "[".repeat(65) + "… 1 more#" + &"]".repeat(65)
        );
    }

    #[test]
    fn the_alternate_form_shows_all_of_the_content() {
        let all = map! {"city": "Oslo", "days": [1, 2.5, null, true]};
        let expected = r#"{
    "city": "Oslo",
    "days": [
        1,
        2.5,
        null,
        true,
    ],
}"#;
        assert_eq!(format!("{all:#?}"), expected);
        assert_eq!(format!("{:#?}", Value::from(all)), expected);
    }
}
