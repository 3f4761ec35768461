//! Builds maps from maps and structs.

use serde::{Serialize, ser};

use super::{ValueSerializer, tag_variant};
use crate::{Map, Value, ValueError, value::private_names};

pub(super) struct MapBuilder {
    variant: Option<&'static str>,
    /// Whether the map is a struct with a private name.
    is_private: bool,
    map: Map,
    key: Option<String>,
}

impl MapBuilder {
    pub(super) fn new(variant: Option<&'static str>) -> Self {
        Self {
            variant,
            is_private: false,
            map: Map::new(),
            key: None,
        }
    }

    pub(super) fn for_struct(name: &'static str) -> Self {
        Self {
            is_private: private_names::is_private(name),
            ..Self::new(None)
        }
    }

    fn finish(self) -> Result<Value, ValueError> {
        if self.is_private {
            return Ok(private_names::decode(self.map));
        }
        Ok(tag_variant(self.variant, self.map.into()))
    }
}

impl ser::SerializeMap for MapBuilder {
    type Ok = Value;
    type Error = ValueError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        self.key = Some(match key.serialize(ValueSerializer)? {
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
        self.map.insert(key, value.serialize(ValueSerializer)?);
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
                self.map.insert(key, value.serialize(ValueSerializer)?);
                Ok(())
            }

            fn end(self) -> Result<Value, ValueError> {
                self.finish()
            }
        }
    )*};
}

struct_builder!(SerializeStruct SerializeStructVariant);
