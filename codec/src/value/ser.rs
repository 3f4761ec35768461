use std::fmt;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser};

use super::{Map, Value, integer::IntegerRef};

/// A Rust value that does not fit a [`Value`], or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    message: String,
}

impl ValueError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl ser::Error for ValueError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

/// Turns anything that implements serde's `Serialize` into a [`Value`].
///
/// Structs become maps, enums are tagged as serde_json tags them, and keys that are integers, bools or
/// characters become text.
///
/// # Errors
///
/// A map key of another kind, or what the type's own `Serialize` fails with.
///
/// ```
/// #[derive(serde::Serialize)]
/// struct Question<'a> {
///     city: &'a str,
///     days: u8,
/// }
///
/// let value = agentwire_codec::to_value(&Question { city: "Oslo", days: 3 })?;
/// assert_eq!(value.to_string(), r#"{"city": "Oslo", "days": 3}"#);
/// # Ok::<(), agentwire_codec::ValueError>(())
/// ```
pub fn to_value<T: Serialize + ?Sized>(value: &T) -> Result<Value, ValueError> {
    value.serialize(ToValue)
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Integer(integer) => match integer.as_ref() {
                IntegerRef::Signed(signed) => serializer.serialize_i64(signed),
                IntegerRef::Unsigned(unsigned) => serializer.serialize_u64(unsigned),
                IntegerRef::Big(digits) => match (integer.as_u128(), integer.as_i128()) {
                    (Some(unsigned), _) => serializer.serialize_u128(unsigned),
                    (None, Some(signed)) => serializer.serialize_i128(signed),
                    (None, None) => Err(ser::Error::custom(format_args!(
                        "integer {digits} has more than 128 bits, which serde cannot carry"
                    ))),
                },
            },
            Self::Float(float) => serializer.serialize_f64(*float),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(list) => serializer.collect_seq(list),
            Self::Map(map) => map.serialize(serializer),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

struct ToValue;

impl Serializer for ToValue {
    type Ok = Value;
    type Error = ValueError;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = ListBuilder;
    type SerializeMap = MapBuilder;
    type SerializeStruct = MapBuilder;
    type SerializeStructVariant = MapBuilder;

    fn serialize_bool(self, flag: bool) -> Result<Value, ValueError> {
        Ok(flag.into())
    }

    fn serialize_i8(self, number: i8) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_i128(self, number: i128) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_u8(self, number: u8) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_u128(self, number: u128) -> Result<Value, ValueError> {
        Ok(number.into())
    }

    fn serialize_f32(self, float: f32) -> Result<Value, ValueError> {
        Ok(float.into())
    }

    fn serialize_f64(self, float: f64) -> Result<Value, ValueError> {
        Ok(float.into())
    }

    fn serialize_char(self, character: char) -> Result<Value, ValueError> {
        Ok(character.to_string().into())
    }

    fn serialize_str(self, text: &str) -> Result<Value, ValueError> {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, ValueError> {
        Ok(Bytes::copy_from_slice(bytes).into())
    }

    fn serialize_none(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, ValueError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, ValueError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ValueError> {
        Ok(tagged(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListBuilder, ValueError> {
        Ok(ListBuilder::new(None, len.unwrap_or(0)))
    }

    fn serialize_tuple(self, len: usize) -> Result<ListBuilder, ValueError> {
        Ok(ListBuilder::new(None, len))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        len: usize,
    ) -> Result<ListBuilder, ValueError> {
        Ok(ListBuilder::new(None, len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<ListBuilder, ValueError> {
        Ok(ListBuilder::new(Some(variant), len))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<MapBuilder, ValueError> {
        Ok(MapBuilder::new(None))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<MapBuilder, ValueError> {
        Ok(MapBuilder::new(None))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<MapBuilder, ValueError> {
        Ok(MapBuilder::new(Some(variant)))
    }
}

/// An enum's variant with data is a map from its name to the data.
fn tagged(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Map::from([(variant, value)]).into(),
        None => value,
    }
}

struct ListBuilder {
    variant: Option<&'static str>,
    list: Vec<Value>,
}

impl ListBuilder {
    fn new(variant: Option<&'static str>, len: usize) -> Self {
        // A type may announce any length; believe it only as far as it costs little.
        Self {
            variant,
            list: Vec::with_capacity(len.min(1024)),
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), ValueError> {
        self.list.push(element.serialize(ToValue)?);
        Ok(())
    }

    fn finish(self) -> Result<Value, ValueError> {
        Ok(tagged(self.variant, Value::List(self.list)))
    }
}

macro_rules! list_builder {
    ($($kind:ident $push:ident)*) => {$(
        impl ser::$kind for ListBuilder {
            type Ok = Value;
            type Error = ValueError;

            fn $push<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), ValueError> {
                self.push(element)
            }

            fn end(self) -> Result<Value, ValueError> {
                self.finish()
            }
        }
    )*};
}

list_builder! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

struct MapBuilder {
    variant: Option<&'static str>,
    map: Map,
    key: Option<String>,
}

impl MapBuilder {
    fn new(variant: Option<&'static str>) -> Self {
        Self {
            variant,
            map: Map::new(),
            key: None,
        }
    }

    fn finish(self) -> Result<Value, ValueError> {
        Ok(tagged(self.variant, self.map.into()))
    }
}

impl ser::SerializeMap for MapBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(match key.serialize(ToValue)? {
            Value::Text(text) => text,
            Value::Integer(integer) => integer.to_string(),
            Value::Bool(flag) => flag.to_string(),
            other => {
                return Err(ValueError::new(format!(
                    "a map key must be text, not {}",
                    other.kind()
                )));
            }
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        let Some(key) = self.key.take() else {
            return Err(ValueError::new("a map value came before its key"));
        };
        self.map.insert(key, value.serialize(ToValue)?);
        Ok(())
    }

    fn end(self) -> Result<Value, ValueError> {
        self.finish()
    }
}

macro_rules! struct_builder {
    ($($kind:ident)*) => {$(
        impl ser::$kind for MapBuilder {
            type Ok = Value;
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ValueError> {
                self.map.insert(key, value.serialize(ToValue)?);
                Ok(())
            }

            fn end(self) -> Result<Value, ValueError> {
                self.finish()
            }
        }
    )*};
}

struct_builder!(SerializeStruct SerializeStructVariant);
