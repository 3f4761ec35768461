use bytes::Bytes;

use super::{Integer, Map, Value, integer::IntegerRef};

/// A value that `serde_json::Value` cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToJsonError {
    /// JSON has no bytes.
    #[error("serde_json cannot hold bytes; encode them as text first")]
    Bytes,
    /// The integer is outside of -2^63 to 2^64-1.
    #[error("serde_json cannot hold the integer {digits}")]
    Integer {
        /// The integer, in decimal.
        digits: String,
    },
    /// NaN or an infinity.
    #[error("serde_json cannot hold {0}, which is not finite")]
    Float(String),
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(flag),
            serde_json::Value::Number(number) => from_number(&number),
            serde_json::Value::String(text) => Self::Text(text),
            serde_json::Value::Array(list) => list.into_iter().map(Self::from).collect(),
            serde_json::Value::Object(map) => Self::Map(
                map.into_iter()
                    .map(|(key, value)| (key, Self::from(value)))
                    .collect(),
            ),
        }
    }
}

fn from_number(number: &serde_json::Number) -> Value {
    if let Some(signed) = number.as_i64() {
        return signed.into();
    }
    if let Some(unsigned) = number.as_u64() {
        return unsigned.into();
    }
    // With its feature `arbitrary_precision`, which a user's program may have on, it holds more.
    let digits = number.to_string();
    match Integer::from_decimal(&digits) {
        Some(integer) => Value::Integer(integer),
        None => Value::Float(digits.parse().unwrap_or(f64::NAN)),
    }
}

impl TryFrom<Value> for serde_json::Value {
    type Error = ToJsonError;

    fn try_from(value: Value) -> Result<Self, ToJsonError> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Bool(flag) => Self::Bool(flag),
            Value::Integer(integer) => match integer.as_ref() {
                IntegerRef::Signed(signed) => Self::Number(signed.into()),
                IntegerRef::Unsigned(unsigned) => Self::Number(unsigned.into()),
                IntegerRef::Big(digits) => {
                    return Err(ToJsonError::Integer {
                        digits: digits.to_owned(),
                    });
                }
            },
            Value::Float(float) => serde_json::Number::from_f64(float)
                .map(Self::Number)
                .ok_or_else(|| ToJsonError::Float(Value::Float(float).to_string()))?,
            Value::Text(text) => Self::String(text),
            Value::Bytes(_) => return Err(ToJsonError::Bytes),
            Value::List(list) => Self::Array(
                list.into_iter()
                    .map(Self::try_from)
                    .collect::<Result<_, _>>()?,
            ),
            Value::Map(map) => Self::Object(
                map.into_iter()
                    .map(|(key, value)| Ok((key, Self::try_from(value)?)))
                    .collect::<Result<_, ToJsonError>>()?,
            ),
        })
    }
}

macro_rules! from_integers {
    ($($integer:ty)*) => {$(
        impl From<$integer> for Value {
            fn from(number: $integer) -> Self {
                Self::Integer(number.into())
            }
        }
    )*};
}

from_integers!(i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 usize Integer);

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::Null
    }
}

impl From<isize> for Value {
    fn from(number: isize) -> Self {
        // No platform has a wider isize.
        Self::Integer((number as i64).into())
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

    #[test]
    fn serde_json_values_come_and_go_unchanged() {
        let json = serde_json::json!({"a": [1, -1, 2.5, null, "é", u64::MAX], "b": {"c": true}});
        let value = Value::from(json.clone());
        assert_eq!(serde_json::Value::try_from(value).unwrap(), json);
    }

    #[test]
    fn what_serde_json_cannot_hold_is_a_typed_error() {
        let convert = |value: Value| serde_json::Value::try_from(value).unwrap_err();
        assert_eq!(convert(Value::Bytes(Bytes::new())), ToJsonError::Bytes);
        assert_eq!(
            convert(vec![f64::NAN].into()),
            ToJsonError::Float("NaN".into())
        );
        let digits = u128::MAX.to_string();
        assert_eq!(
            convert(Map::from([("n", u128::MAX)]).into()),
            ToJsonError::Integer { digits }
        );
    }
}
