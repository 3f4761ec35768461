//! Deserializes enums from values.

use serde::{
    Deserialize, Deserializer,
    de::{self, IntoDeserializer, Unexpected, Visitor},
};

use crate::{Value, ValueError};

/// The name of an enum variant and the data of the variant, if any.
pub(super) struct EnumAccess {
    pub(super) variant: String,
    pub(super) data: Option<Value>,
}

impl<'de> de::EnumAccess<'de> for EnumAccess {
    type Error = ValueError;
    type Variant = VariantAccess;

    fn variant_seed<V: de::DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, VariantAccess), ValueError> {
        let variant = seed.deserialize(self.variant.into_deserializer())?;
        Ok((variant, VariantAccess { data: self.data }))
    }
}

pub(super) struct VariantAccess {
    data: Option<Value>,
}

impl VariantAccess {
    fn data(self, expected: &'static str) -> Result<Value, ValueError> {
        self.data
            .ok_or_else(|| de::Error::invalid_type(Unexpected::UnitVariant, &expected))
    }
}

impl<'de> de::VariantAccess<'de> for VariantAccess {
    type Error = ValueError;

    fn unit_variant(self) -> Result<(), ValueError> {
        self.data.map_or(Ok(()), Deserialize::deserialize)
    }

    fn newtype_variant_seed<T: de::DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, ValueError> {
        seed.deserialize(self.data("a variant with a value")?)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.data("a variant with a list")?.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.data("a variant with a map")?.deserialize_any(visitor)
    }
}
