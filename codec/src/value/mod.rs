//! The values that messages contain.

mod compare;
mod convert;
mod de;
mod debug;
mod error;
mod index;
mod integer;
mod macros;
mod map;
mod private_names;
mod ser;

use std::{
    hash::{Hash, Hasher},
    mem,
};

use bytes::Bytes;

use self::compare::floats_are_equal;
pub(crate) use self::integer::IntegerRef;
pub use self::{
    de::from_value,
    error::ValueError,
    integer::Integer,
    map::{Entries, IntoEntries, Map},
    ser::to_value,
};

/// Any value that a message can contain: the values of JSON and the additional values of Python.
///
/// Integers have arbitrary size, floats include NaN and the infinities, and maps preserve insertion
/// order. Bytes can be encoded only in MessagePack, not in JSON ([PROTOCOL 4.9]).
///
/// Two values are equal if they are written as the same bytes: `1` and `1.0` differ, `0.0` and
/// `-0.0` differ, NaN equals NaN, and the order of map keys matters. A value can also be compared
/// with Rust types: `value == "text"`, `value == 1`.
///
/// The `{:?}` output shows the structure of a value without its content, and the `{:#?}` output
/// shows the entire content. See [below](#impl-Debug-for-Value).
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::Value;
///
/// let value: Value = r#"{"id": 1180591620717411303424, "ok": true}"#.parse()?;
/// assert_eq!(value.get("ok").and_then(Value::as_bool), Some(true));
/// assert_eq!(value.to_string(), r#"{"id": 1180591620717411303424, "ok": true}"#);
/// # Ok::<(), agentwire::DecodeFault>(())
/// ```
///
/// [PROTOCOL 4.9]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#4-json-text
#[derive(Clone, Default)]
pub enum Value {
    /// `null`, or Python's `None`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer of arbitrary size.
    Integer(Integer),
    /// A 64-bit float, including NaN and the infinities.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes, which can be encoded only in MessagePack.
    Bytes(Bytes),
    /// A list.
    List(Vec<Self>),
    /// A map from text to values that preserves insertion order.
    Map(Map),
}

impl Value {
    /// Returns the value for `key` if this value is a map that contains the key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key)
    }

    /// Returns the bool if this value is a bool.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// Returns the integer if this value is an integer that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => integer.as_i64(),
            _ => None,
        }
    }

    /// Returns the integer if this value is an integer that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(integer) => integer.as_u64(),
            _ => None,
        }
    }

    /// Returns the float if this value is a float. Integers are not converted.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(float) => Some(*float),
            _ => None,
        }
    }

    /// Returns the text if this value is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the bytes if this value is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns the elements if this value is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(list) => Some(list),
            _ => None,
        }
    }

    /// Returns the map if this value is a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns true for [`Value::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns the name of the kind of the value, for error messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Integer(_) => "integer",
            Self::Float(_) => "float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// Formats the value like Python's `str()`: text without quotes, null as `None`, bools as
    /// `True` and `False`, and any other value as JSON.
    #[must_use]
    pub fn to_plain_text(&self) -> String {
        match self {
            Self::Null => "None".to_owned(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => floats_are_equal(*a, *b),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// Hashes the value consistently with equality: every NaN has the same hash.
impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(flag) => flag.hash(state),
            Self::Integer(integer) => integer.hash(state),
            Self::Float(float) if float.is_nan() => f64::NAN.to_bits().hash(state),
            Self::Float(float) => float.to_bits().hash(state),
            Self::Text(text) => text.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::List(list) => list.hash(state),
            Self::Map(map) => map.hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_equal_if_they_are_written_as_the_same_bytes() {
        assert_ne!(Value::from(1), Value::from(1.0));
        assert_ne!(Value::from(0.0), Value::from(-0.0));
        assert_eq!(Value::from(f64::NAN), Value::from(-f64::NAN));
        let ab: Map = [("a", Value::Null), ("b", Value::Null)]
            .into_iter()
            .collect();
        let ba: Map = [("b", Value::Null), ("a", Value::Null)]
            .into_iter()
            .collect();
        assert_ne!(Value::Map(ab), Value::Map(ba));
    }

    #[test]
    fn a_value_is_small() {
        assert!(size_of::<Value>() <= 40, "{}", size_of::<Value>());
    }

    #[test]
    fn the_deepest_accepted_value_fits_the_stack_of_a_worker_thread() {
        // 2 MiB is the stack size of tokio's worker threads. Stack frames are largest without
        // optimizations, as in this test.
        let usual = std::thread::Builder::new().stack_size(2 << 20);
        let check = usual.spawn(|| {
            let deepest = "[".repeat(crate::MAX_DEPTH) + &"]".repeat(crate::MAX_DEPTH);
            let value: Value = deepest.parse().unwrap();
            assert_eq!(value.clone(), value);
            assert_eq!(to_value(&value).unwrap(), value);
            assert_eq!(from_value::<Value>(value.clone()).unwrap(), value);
            let json = serde_json::Value::try_from(value.clone()).unwrap();
            assert_eq!(Value::from(json), value);
            assert_eq!(value.to_string(), deepest);
            assert!(format!("{value:#?}").len() > format!("{value:?}").len());
        });
        check.unwrap().join().unwrap();
    }
}
