//! Serializes Rust types into values.

mod list_builder;
mod map_builder;

use bytes::Bytes;
use serde::{Serialize, Serializer, ser};

use self::{list_builder::ListBuilder, map_builder::MapBuilder};
use super::{Map, Value, ValueError, integer::IntegerRef};

/// Converts any type that implements serde's `Serialize`, by value or by reference, into a
/// [`Value`].
///
/// Structs become maps, and enums have the same representation as in serde_json. Map keys that are
/// integers, bools or characters become text.
///
/// # Errors
///
/// Returns an error if a map has a key of any other type, or if the `Serialize` implementation of
/// the type fails.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// #[derive(serde::Serialize)]
/// struct Question<'a> {
///     city: &'a str,
///     days: u8,
/// }
///
/// let value = agentwire::to_value(Question { city: "Oslo", days: 3 })?;
/// assert_eq!(value.to_string(), r#"{"city": "Oslo", "days": 3}"#);
/// # Ok::<(), agentwire::ValueError>(())
/// ```
pub fn to_value<T: Serialize>(value: T) -> Result<Value, ValueError> {
    value.serialize(ValueSerializer)
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

struct ValueSerializer;

impl Serializer for ValueSerializer {
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
        Ok(tag_variant(Some(variant), value.serialize(self)?))
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

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<MapBuilder, ValueError> {
        Ok(MapBuilder::for_struct(name))
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

/// Wraps the data of an enum variant in a map with one entry: the name of the variant and the data.
fn tag_variant(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Map::from([(variant, value)]).into(),
        None => value,
    }
}
