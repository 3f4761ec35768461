//! Builds lists from sequences and tuples.

use serde::{Serialize, ser};

use super::{ValueSerializer, tag_variant};
use crate::{Value, ValueError};

pub(super) struct ListBuilder {
    variant: Option<&'static str>,
    list: Vec<Value>,
}

impl ListBuilder {
    pub(super) fn new(variant: Option<&'static str>, len: usize) -> Self {
        // The length is only a hint from the type, so the reserved capacity is limited.
        Self {
            variant,
            list: Vec::with_capacity(len.min(1024)),
        }
    }

    fn push<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), ValueError> {
        self.list.push(element.serialize(ValueSerializer)?);
        Ok(())
    }

    fn finish(self) -> Result<Value, ValueError> {
        Ok(tag_variant(self.variant, Value::List(self.list)))
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
