//! The private names under which serde_json and this crate pass values through serde.
//!
//! serde has no integers beyond 128 bits and no raw JSON. With the features `arbitrary_precision`
//! and `raw_value`, serde_json passes them as structs with one field, whose name is private. Any
//! crate of a program can enable these features for all other crates.

use super::{Map, Value};
use crate::json;

/// The name of a number of serde_json with the feature `arbitrary_precision`, as a struct and as
/// the only field of that struct. The field contains the number as text.
pub(super) const NUMBER: &str = "$serde_json::private::Number";

/// The name of raw JSON of serde_json with the feature `raw_value`, as a struct and as the only
/// field of that struct. The field contains the JSON text.
pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The name of the newtype that [`Value`] requests from a deserializer. The deserializer of this
/// crate then passes integers of any size. Deserializers of other crates ignore the name.
pub(super) const EXACT_VALUE: &str = "$agentwire::private::Value";

/// Returns whether a struct of this name stands for another value.
pub(super) fn is_private(name: &str) -> bool {
    matches!(name, NUMBER | RAW_VALUE)
}

/// Returns the value that a map stands for. This is the map itself, unless its only key is private
/// and its value is what the key promises.
pub(super) fn decode(map: Map) -> Value {
    private_value(&map).unwrap_or(Value::Map(map))
}

fn private_value(map: &Map) -> Option<Value> {
    if map.len() != 1 {
        return None;
    }
    let (name, value) = map.iter().next()?;
    if !is_private(name) {
        return None;
    }
    let decoded = json::from_slice(value.as_str()?.as_bytes()).ok()?;
    let is_number = matches!(decoded, Value::Integer(_) | Value::Float(_));
    (is_number || name == RAW_VALUE).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{
        Deserialize, Deserializer, Serialize, Serializer,
        de::{
            IntoDeserializer, Visitor,
            value::{MapAccessDeserializer, MapDeserializer},
        },
        forward_to_deserialize_any,
        ser::SerializeStruct,
    };

    use super::*;
    use crate::{ValueError, from_value, map, to_value, value};

    /// Serializes as serde_json does with both features.
    struct Private(&'static str, &'static str);

    impl Serialize for Private {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut private = serializer.serialize_struct(self.0, 1)?;
            private.serialize_field(self.0, self.1)?;
            private.end()
        }
    }

    /// Deserializes as serde_json does with the feature `arbitrary_precision`.
    struct PrivateNumber(&'static str);

    impl<'de> Deserializer<'de> for PrivateNumber {
        type Error = ValueError;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            visitor.visit_map(MapDeserializer::new([(NUMBER, self.0)].into_iter()))
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            _name: &'static str,
            visitor: V,
        ) -> Result<V::Value, ValueError> {
            visitor.visit_newtype_struct(self)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    impl<'de> IntoDeserializer<'de, ValueError> for PrivateNumber {
        type Deserializer = Self;

        fn into_deserializer(self) -> Self {
            self
        }
    }

    /// Raw JSON, deserialized as `Box<RawValue>` of serde_json is.
    struct RawValue(String);

    impl<'de> Deserialize<'de> for RawValue {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct RawVisitor;

            impl<'de> Visitor<'de> for RawVisitor {
                type Value = RawValue;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("any valid JSON value")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    entries: A,
                ) -> Result<RawValue, A::Error> {
                    let entries = MapAccessDeserializer::new(entries);
                    let map = BTreeMap::<String, String>::deserialize(entries)?;
                    let entry = map.into_iter().next().unwrap();
                    assert_eq!(entry.0, RAW_VALUE);
                    Ok(RawValue(entry.1))
                }
            }

            deserializer.deserialize_newtype_struct(RAW_VALUE, RawVisitor)
        }
    }

    const DIGITS: &str = "1606938044258990275541962092341162602522202993782792835301376";

    fn digits() -> Value {
        json::from_slice(DIGITS.as_bytes()).unwrap()
    }

    #[test]
    fn private_numbers_and_raw_json_become_what_they_stand_for() {
        for (private, expected) in [
            (Private(NUMBER, "1"), value!(1)),
            (Private(NUMBER, "-2.50"), value!(-2.5)),
            (Private(NUMBER, "1e3"), value!(1000.0)),
            (Private(NUMBER, DIGITS), digits()),
            (
                Private(RAW_VALUE, r#"{"a": [1, null]}"#),
                value!({"a": [1, null]}),
            ),
        ] {
            let value = to_value(map_of(private)).unwrap();
            assert_eq!(value, Value::from(map! {"n": expected}));
        }
        for (text, expected) in [("1", value!(1)), ("0.5", value!(0.5)), (DIGITS, digits())] {
            assert_eq!(Value::deserialize(PrivateNumber(text)).unwrap(), expected);
            let entries =
                MapDeserializer::<_, ValueError>::new([("n", PrivateNumber(text))].into_iter());
            let map = Map::deserialize(MapAccessDeserializer::new(entries)).unwrap();
            assert_eq!(map, map! {"n": expected});
        }
    }

    fn map_of(private: Private) -> impl Serialize {
        BTreeMap::from([("n", private)])
    }

    #[test]
    fn a_struct_that_only_looks_private_is_a_map() {
        for (name, text) in [(NUMBER, "one"), (NUMBER, "null"), (RAW_VALUE, "{")] {
            let value = to_value(Private(name, text)).unwrap();
            assert_eq!(value, Value::from(Map::from([(name, text)])));
        }
        // A map is data, perhaps of a peer. serde_json uses the names only for structs.
        for name in [NUMBER, RAW_VALUE] {
            let data = BTreeMap::from([(name, "1")]);
            assert_eq!(to_value(&data).unwrap(), Value::from(data));
        }
    }

    #[test]
    fn serde_json_passes_values_whatever_its_features() {
        let json = r#"{"a": 1, "b": 1.5, "list": [-1, 18446744073709551615]}"#;
        let expected = value!({"a": 1, "b": 1.5, "list": [(-1), 18446744073709551615_u64]});
        let parsed: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(to_value(&parsed).unwrap(), expected);
        assert_eq!(Value::from(parsed.clone()), expected);
        assert_eq!(serde_json::from_str::<Value>(json).unwrap(), expected);
        assert_eq!(
            serde_json::from_value::<Value>(parsed.clone()).unwrap(),
            expected
        );
        assert_eq!(
            from_value::<serde_json::Value>(expected.clone()).unwrap(),
            parsed
        );
        assert_eq!(serde_json::to_value(&expected).unwrap(), parsed);
        assert_eq!(serde_json::Value::try_from(expected).unwrap(), parsed);
    }

    #[test]
    fn raw_json_can_be_deserialized_from_a_value() {
        #[derive(Deserialize)]
        struct Answer {
            raw: RawValue,
        }
        let answer: Answer = from_value(map! {"raw": {"a": [1, "x"]}}).unwrap();
        assert_eq!(answer.raw.0, r#"{"a": [1, "x"]}"#);
        let bytes = Value::from(bytes::Bytes::from_static(b"x"));
        assert!(from_value::<Answer>(map! {"raw": bytes}).is_err());
    }

    #[test]
    fn an_unknown_large_integer_does_not_make_a_struct_undecodable() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Flat {
            known: u128,
            exact: Option<u128>,
            #[serde(flatten)]
            rest: BTreeMap<String, f64>,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(tag = "kind")]
        enum Tagged {
            One { city: String },
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(untagged)]
        enum Untagged {
            Other { city: String },
        }
        let city = || "Oslo".to_owned();
        for big in [Value::from(u128::MAX), value!(i128::MIN), digits()] {
            let message = map! {"kind": "One", "city": "Oslo", "big": (big.clone())};
            assert_eq!(
                from_value::<Tagged>(message.clone()).unwrap(),
                Tagged::One { city: city() }
            );
            let other = Untagged::Other { city: city() };
            assert_eq!(from_value::<Untagged>(message).unwrap(), other);
            let float: f64 = big.to_string().parse().unwrap();
            let flat: Flat =
                from_value(map! {"known": 1, "exact": (u128::MAX), "big": (big.clone())}).unwrap();
            assert_eq!((flat.exact, flat.rest["big"]), (Some(u128::MAX), float));
            // A value keeps all of its digits.
            let kept: Value = from_value(value!({"list": [(big.clone())]})).unwrap();
            assert_eq!(kept["list"][0], big);
            assert_eq!(from_value::<f64>(big).unwrap(), float);
        }
        assert!(from_value::<u64>(u128::MAX).is_err());
    }
}
