//! Conversions from Rust types into [`Value`].

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;

use super::{Integer, Map, Value};

macro_rules! from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                Self::Integer(number.into())
            }
        }
    )*};
}

from_integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize Integer);

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::Null
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl From<f32> for Value {
    fn from(float: f32) -> Self {
        Self::Float(float.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Box<str>> for Value {
    fn from(text: Box<str>) -> Self {
        Self::Text(text.into())
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(text: Cow<'_, str>) -> Self {
        Self::Text(text.into_owned())
    }
}

impl From<char> for Value {
    fn from(character: char) -> Self {
        Self::Text(character.into())
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(list: Vec<T>) -> Self {
        list.into_iter().collect()
    }
}

impl<T: Into<Self> + Clone> From<&[T]> for Value {
    fn from(list: &[T]) -> Self {
        list.iter().cloned().collect()
    }
}

impl<T: Into<Self>, const N: usize> From<[T; N]> for Value {
    fn from(list: [T; N]) -> Self {
        list.into_iter().collect()
    }
}

/// Converts a map and keeps the order of its keys.
impl<K: Into<String>, V: Into<Self>> From<BTreeMap<K, V>> for Value {
    fn from(map: BTreeMap<K, V>) -> Self {
        Self::Map(map.into_iter().collect())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        Self::List(elements.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    #[test]
    fn the_usual_types_of_rust_convert_into_values() {
        let text = "é".to_owned();
        for converted in [
            Value::from(&text),
            Value::from('é'),
            Value::from(Cow::Borrowed("é")),
            Value::from(Box::<str>::from("é")),
            Value::from(text.as_str()),
        ] {
            assert_eq!(converted, "é");
        }
        assert_eq!(Value::from([1, 2]), Value::from(&[1_u8, 2][..]));
        assert_eq!(Value::from(vec!["a"]), value!(["a"]));
        assert_eq!(Value::from(isize::MIN), isize::MIN);
        let sorted = BTreeMap::from([("b", 2), ("a", 1)]);
        assert_eq!(Value::from(sorted), value!({"a": 1, "b": 2}));
        assert_eq!(Value::from(None::<bool>), Value::Null);
    }
}
