//! Comparisons between [`Value`] and Rust types.

use super::{Integer, Map, Value};

/// Returns true if both floats are written as the same text. The bits must be equal, except that
/// every NaN equals every other NaN.
pub(super) fn floats_are_equal(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Implements `PartialEq` in both directions, for values and references.
macro_rules! comparisons {
    ($($type:ty: |$value:ident, $other:ident| $is_equal:expr;)*) => {$(
        impl PartialEq<$type> for Value {
            fn eq(&self, $other: &$type) -> bool {
                let $value = self;
                $is_equal
            }
        }

        impl PartialEq<$type> for &Value {
            fn eq(&self, other: &$type) -> bool {
                **self == *other
            }
        }

        impl PartialEq<Value> for $type {
            fn eq(&self, value: &Value) -> bool {
                *value == *self
            }
        }

        impl PartialEq<&Value> for $type {
            fn eq(&self, value: &&Value) -> bool {
                **value == *self
            }
        }
    )*};
}

macro_rules! integer_comparisons {
    ($($type:ty)*) => {
        comparisons! {$(
            $type: |value, other| {
                matches!(value, Value::Integer(integer) if *integer == Integer::from(*other))
            };
        )*}
    };
}

integer_comparisons!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

comparisons! {
    bool: |value, other| value.as_bool() == Some(*other);
    f64: |value, other| value.as_f64().is_some_and(|float| floats_are_equal(float, *other));
    f32: |value, other| *value == f64::from(*other);
    String: |value, other| value.as_str() == Some(other);
    Map: |value, other| value.as_map() == Some(other);
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq<Value> for str {
    fn eq(&self, value: &Value) -> bool {
        *value == *self
    }
}

impl PartialEq<Value> for &str {
    fn eq(&self, value: &Value) -> bool {
        *value == **self
    }
}

#[cfg(test)]
mod tests {
    use crate::{Map, Value, map, value};

    #[test]
    fn a_value_compares_with_the_types_of_rust_on_either_side() {
        let text = value!("text");
        let owned = "text".to_owned();
        assert_eq!(text, "text");
        assert_eq!("text", text);
        assert_eq!(text, *"text");
        assert_eq!(*"text", text);
        assert_eq!(text, owned);
        assert_eq!(owned, text);
        assert_ne!(text, "other");
        assert_ne!(value!(1), "1");

        let one = value!(1);
        assert_eq!(one, 1);
        assert_eq!(1, one);
        assert_eq!(one, 1_u64);
        assert_eq!(1_usize, one);
        assert_eq!(one, 1_i128);
        assert_ne!(one, 2);
        assert_eq!(value!(-1), -1);
        assert_eq!(value!(u128::MAX), u128::MAX);

        assert_eq!(value!(true), true);
        assert_ne!(false, value!(true));
        assert_eq!(value!(1.5), 1.5);
        assert_eq!(1.5_f32, value!(1.5));

        let map = map! {"a": 1};
        assert_eq!(value!({"a": 1}), map);
        assert_eq!(map, value!({"a": 1}));
        assert_ne!(Value::Null, Map::new());
    }

    #[test]
    fn a_reference_to_a_value_compares_as_well() {
        let list = value!(["a", 1, 2.0, false]);
        let [text, one, two, no] = list.as_list().unwrap() else {
            panic!("{list:#?}");
        };
        assert!(text == "a" && one == 1 && two == 2.0 && no == false);
        assert!("a" == text && 1 == *one);
        assert_eq!(list[0], "a");
        assert_eq!(list[1], 1);
    }

    #[test]
    fn comparisons_follow_the_equality_of_values() {
        assert!(value!(1) != 1.0 && value!(1.0) != 1);
        assert!(value!(0.0) != -0.0);
        assert_eq!(value!(f64::NAN), -f64::NAN);
    }
}
