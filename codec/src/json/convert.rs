//! Conversions between [`Value`] and `serde_json::Value`.

use crate::{Integer, Value, value::IntegerRef};

/// The error for a value that `serde_json::Value` cannot represent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToJsonError {
    /// The value contains bytes, which JSON cannot represent.
    #[error("serde_json cannot represent bytes; encode them as text first")]
    Bytes,
    /// The integer is outside the range -2^63 to 2^64-1.
    #[error("serde_json cannot represent the integer {digits}")]
    Integer {
        /// The decimal digits of the integer.
        digits: String,
    },
    /// The float is NaN or an infinity.
    #[error("serde_json cannot represent {0}, which is not finite")]
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
    // A number can have more than 64 bits if any crate in the build enables the feature
    // `arbitrary_precision` of serde_json.
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Map;

    #[test]
    fn serde_json_values_round_trip() {
        let json = serde_json::json!({"a": [1, -1, 2.5, null, "é", u64::MAX], "b": {"c": true}});
        let value = Value::from(json.clone());
        assert_eq!(serde_json::Value::try_from(value).unwrap(), json);
    }

    #[test]
    fn values_that_serde_json_cannot_hold_fail_with_a_typed_error() {
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
