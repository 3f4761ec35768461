//! Deserializes Rust types from values.

mod enum_access;
mod key;
mod visitor;

use serde::{
    Deserializer,
    de::{
        self, DeserializeOwned, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

use self::{enum_access::EnumAccess, key::KeyDeserializer};
use super::{
    Integer, Value, ValueError,
    integer::IntegerRef,
    private_names::{EXACT_VALUE, NUMBER, RAW_VALUE},
};
use crate::json;

/// Converts a [`Value`], or a [`Map`](crate::Map), into any type that implements serde's
/// `Deserialize`.
///
/// An integer beyond 64 bits fits `i128`, `u128`, `f64` and [`Value`]. A type that accepts any
/// value, such as the map of a `#[serde(flatten)]` field, receives it as the nearest float.
///
/// # Errors
///
/// Returns an error if the value does not fit the type. The error states what the type expected and
/// what the value is.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::{from_value, map};
///
/// #[derive(serde::Deserialize)]
/// struct Answer {
///     city: String,
///     degrees: f64,
/// }
///
/// let answer: Answer = from_value(map! {"city": "Oslo", "degrees": -3})?;
/// assert_eq!((answer.city.as_str(), answer.degrees), ("Oslo", -3.0));
/// # Ok::<(), agentwire::ValueError>(())
/// ```
pub fn from_value<T: DeserializeOwned>(value: impl Into<Value>) -> Result<T, ValueError> {
    T::deserialize(value.into())
}

impl<'de> IntoDeserializer<'de, ValueError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! exact_integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            match self {
                Self::Integer(integer) => visit_integer(&integer, visitor),
                other => other.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Value {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(flag) => visitor.visit_bool(flag),
            Self::Integer(integer) => visit_any_integer(&integer, visitor),
            Self::Float(float) => visitor.visit_f64(float),
            Self::Text(text) => visitor.visit_string(text),
            Self::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            Self::List(list) => {
                let mut elements = SeqDeserializer::new(list.into_iter());
                let value = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(value)
            }
            Self::Map(map) => {
                let mut entries = MapDeserializer::new(
                    map.into_iter()
                        .map(|(key, value)| (KeyDeserializer(key), value)),
                );
                let value = visitor.visit_map(&mut entries)?;
                entries.end()?;
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        match (name, self) {
            (RAW_VALUE, value) => {
                let text = raw_json(&value)?;
                visitor.visit_map(MapDeserializer::new([(RAW_VALUE, text)].into_iter()))
            }
            (EXACT_VALUE, Self::Integer(integer)) => match integer.as_ref() {
                IntegerRef::Big(digits) => {
                    visitor.visit_map(MapDeserializer::new([(NUMBER, digits)].into_iter()))
                }
                _ => visit_integer(&integer, visitor),
            },
            (_, value) => visitor.visit_newtype_struct(value),
        }
    }

    /// Deserializes an enum. A unit variant is represented by its name, and a variant with data by
    /// a map whose only entry is the name and the data.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let (variant, data) = match self {
            Self::Text(variant) => (variant, None),
            Self::Map(map) if map.len() == 1 => {
                let mut entries = map.into_iter();
                match entries.next() {
                    Some((variant, data)) => (variant, Some(data)),
                    None => return Err(ValueError::new("a variant's map is empty")),
                }
            }
            other => return Err(other.unexpected(&"a variant's name or a map with one entry")),
        };
        visitor.visit_enum(EnumAccess { variant, data })
    }

    exact_integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl Value {
    fn unexpected(&self, expected: &dyn de::Expected) -> ValueError {
        de::Error::invalid_type(Unexpected::Other(self.kind()), expected)
    }
}

/// Visits an integer for a visitor that accepts any value. An integer beyond 64 bits is visited as
/// the nearest float, because the buffer that serde uses for `flatten` and for tagged and untagged
/// enums has no larger integers. Otherwise, an unknown key could make a whole struct undecodable.
fn visit_any_integer<'de, V: Visitor<'de>>(
    integer: &Integer,
    visitor: V,
) -> Result<V::Value, ValueError> {
    match integer.as_ref() {
        IntegerRef::Big(digits) => visitor.visit_f64(digits.parse().unwrap_or(f64::NAN)),
        _ => visit_integer(integer, visitor),
    }
}

/// Returns a value as JSON text, which `RawValue` of serde_json holds.
fn raw_json(value: &Value) -> Result<String, ValueError> {
    let mut text = Vec::new();
    json::write(value, &mut text).map_err(|error| ValueError::new(error.to_string()))?;
    String::from_utf8(text).map_err(|error| ValueError::new(error.to_string()))
}

fn visit_integer<'de, V: Visitor<'de>>(
    integer: &Integer,
    visitor: V,
) -> Result<V::Value, ValueError> {
    match integer.as_ref() {
        IntegerRef::Signed(signed) => visitor.visit_i64(signed),
        IntegerRef::Unsigned(unsigned) => visitor.visit_u64(unsigned),
        IntegerRef::Big(digits) => match (integer.as_u128(), integer.as_i128()) {
            (Some(unsigned), _) => visitor.visit_u128(unsigned),
            (None, Some(signed)) => visitor.visit_i128(signed),
            (None, None) => Err(ValueError::new(format!(
                "integer {digits} has more than 128 bits, which serde cannot carry"
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::{Map, to_value};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Empty,
        One(u8),
        Pair(i64, String),
        Named { side: f64 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        unit: (),
        flag: bool,
        character: char,
        big: u128,
        low: i128,
        float: f64,
        nothing: Option<u8>,
        something: Option<u8>,
        list: Vec<Shape>,
        by_number: BTreeMap<u16, String>,
        any: Value,
    }

    #[test]
    fn a_rust_type_round_trips_through_a_value() {
        let everything = Everything {
            unit: (),
            flag: true,
            character: 'é',
            big: u128::MAX,
            low: i128::MIN,
            float: 1.5,
            nothing: None,
            something: Some(7),
            list: vec![
                Shape::Empty,
                Shape::One(1),
                Shape::Pair(-2, "two".into()),
                Shape::Named { side: 3.0 },
            ],
            by_number: [(1, "one".to_owned())].into(),
            any: Value::from(vec![Value::Null, Value::from(Bytes::from_static(b"raw"))]),
        };
        let value = to_value(&everything).unwrap();
        assert_eq!(from_value::<Value>(value.clone()).unwrap(), value);
        assert_eq!(from_value::<Everything>(value).unwrap(), everything);
    }

    #[test]
    fn a_type_error_names_the_expected_and_the_actual_type() {
        let error = from_value::<u8>("seven").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"invalid type: string "seven", expected u8"#
        );
        let error = from_value::<u8>(300).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid value: integer `300`, expected u8"
        );
        assert!(
            from_value::<(u8, u8)>(vec![1, 2, 3]).is_err(),
            "an element would be lost"
        );
        assert!(from_value::<Shape>(Value::Null).is_err());
    }

    #[test]
    fn keys_become_bools_options_newtypes_and_variants() {
        #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        struct Port(u16);
        #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Level {
            Low,
            High,
        }
        fn key<K: Ord + for<'de> Deserialize<'de>>(text: &str) -> Result<K, ValueError> {
            let map = Map::from([(text, Value::Null)]);
            let keys: BTreeMap<K, ()> = from_value(map)?;
            Ok(keys.into_keys().next().unwrap())
        }
        assert_eq!(key("true"), Ok(true));
        assert_eq!(key("8"), Ok(Some(8_u8)));
        assert_eq!(key("8080"), Ok(Port(8080)));
        assert_eq!(key("high"), Ok(Level::High));
        assert_eq!(key("low"), Ok(Level::Low));
        // The keys of a peer may be anything.
        assert!(key::<bool>("yes").is_err());
        assert!(key::<u8>("256").is_err());
        assert!(key::<u8>("8x").is_err());
        assert!(key::<Port>("-1").is_err());
        assert!(key::<Level>("HIGH").is_err());
    }
}
