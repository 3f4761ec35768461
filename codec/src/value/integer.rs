//! Integers of arbitrary size.

use std::fmt;

/// An integer of arbitrary size.
///
/// Integers beyond 64 bits are stored as decimal digits, so that they can be forwarded unchanged.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::{Integer, Value};
///
/// let big = Integer::from_decimal("1180591620717411303424").expect("an integer");
/// assert_eq!(big.as_u64(), None);
/// assert_eq!(Value::from(big).to_string(), "1180591620717411303424");
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Integer(Repr);

/// Each number has exactly one representation, so the derived equality compares the numbers.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Signed(i64),
    /// A number above `i64::MAX`.
    Unsigned(u64),
    /// A number outside the ranges of `i64` and `u64`, as decimal digits without leading zeros. The
    /// digits of a negative number follow a `-`.
    Big(Box<str>),
}

/// A borrowed representation of an integer, for writers that choose an encoding by size.
#[derive(Debug, Clone, Copy)]
pub(crate) enum IntegerRef<'a> {
    Signed(i64),
    Unsigned(u64),
    Big(&'a str),
}

impl Integer {
    /// Parses decimal digits with an optional `-`. Returns `None` for any other text.
    ///
    /// Leading zeros are ignored, and `-0` is 0.
    #[must_use]
    pub fn from_decimal(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if let Ok(signed) = text.parse::<i64>() {
            return Some(Self(Repr::Signed(signed)));
        }
        if let Ok(unsigned) = text.parse::<u64>() {
            return Some(Self(Repr::Unsigned(unsigned)));
        }
        let sign = if digits.len() == text.len() { "" } else { "-" };
        let big = format!("{sign}{}", digits.trim_start_matches('0'));
        Some(Self(Repr::Big(big.into())))
    }

    /// Returns the number, or `None` if the number does not fit.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Repr::Signed(signed) => Some(signed),
            _ => None,
        }
    }

    /// Returns the number, or `None` if the number does not fit.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self.0 {
            Repr::Signed(signed) => u64::try_from(signed).ok(),
            Repr::Unsigned(unsigned) => Some(unsigned),
            Repr::Big(_) => None,
        }
    }

    /// Returns the number, or `None` if the number does not fit.
    #[must_use]
    pub fn as_i128(&self) -> Option<i128> {
        match &self.0 {
            Repr::Signed(signed) => Some((*signed).into()),
            Repr::Unsigned(unsigned) => Some((*unsigned).into()),
            Repr::Big(digits) => digits.parse().ok(),
        }
    }

    /// Returns the number, or `None` if the number does not fit.
    #[must_use]
    pub fn as_u128(&self) -> Option<u128> {
        match &self.0 {
            Repr::Signed(signed) => u128::try_from(*signed).ok(),
            Repr::Unsigned(unsigned) => Some((*unsigned).into()),
            Repr::Big(digits) => digits.parse().ok(),
        }
    }

    pub(crate) fn as_ref(&self) -> IntegerRef<'_> {
        match &self.0 {
            Repr::Signed(signed) => IntegerRef::Signed(*signed),
            Repr::Unsigned(unsigned) => IntegerRef::Unsigned(*unsigned),
            Repr::Big(digits) => IntegerRef::Big(digits),
        }
    }
}

impl From<u64> for Integer {
    fn from(number: u64) -> Self {
        match i64::try_from(number) {
            Ok(signed) => Self(Repr::Signed(signed)),
            Err(_) => Self(Repr::Unsigned(number)),
        }
    }
}

impl From<i128> for Integer {
    fn from(number: i128) -> Self {
        if let Ok(signed) = i64::try_from(number) {
            Self(Repr::Signed(signed))
        } else if let Ok(unsigned) = u64::try_from(number) {
            Self(Repr::Unsigned(unsigned))
        } else {
            Self(Repr::Big(number.to_string().into()))
        }
    }
}

impl From<u128> for Integer {
    fn from(number: u128) -> Self {
        match u64::try_from(number) {
            Ok(small) => small.into(),
            Err(_) => Self(Repr::Big(number.to_string().into())),
        }
    }
}

macro_rules! from_small {
    ($($small:ty)*) => {$(
        impl From<$small> for Integer {
            fn from(number: $small) -> Self {
                Self(Repr::Signed(number.into()))
            }
        }
    )*};
}

from_small!(i8 i16 i32 i64 u8 u16 u32);

impl From<isize> for Integer {
    fn from(number: isize) -> Self {
        // No platform has an isize wider than 64 bits.
        (number as i64).into()
    }
}

impl From<usize> for Integer {
    fn from(number: usize) -> Self {
        // No platform has a usize wider than 64 bits.
        (number as u64).into()
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_ref() {
            IntegerRef::Signed(signed) => fmt::Display::fmt(&signed, f),
            IntegerRef::Unsigned(unsigned) => fmt::Display::fmt(&unsigned, f),
            IntegerRef::Big(digits) => f.write_str(digits),
        }
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_length_keep_their_digits() {
        for text in [
            "0",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "1606938044258990275541962092341162602522202993782792835301376",
        ] {
            assert_eq!(Integer::from_decimal(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn each_number_has_one_representation() {
        assert_eq!(Integer::from_decimal("-0"), Some(Integer::from(0)));
        assert_eq!(Integer::from_decimal("007"), Some(Integer::from(7)));
        let digits = "000340282366920938463463374607431768211455";
        assert_eq!(
            Integer::from_decimal(digits),
            Some(Integer::from(u128::MAX))
        );
        assert_eq!(Integer::from(u128::MAX).as_u128(), Some(u128::MAX));
        assert_eq!(Integer::from(i128::MIN).as_i128(), Some(i128::MIN));
        assert_eq!(Integer::from(5_i128), Integer::from(5_u8));
    }

    #[test]
    fn text_that_is_not_an_integer_is_refused() {
        for text in ["", "-", "+1", "1.0", "1e3", "٣", " 1"] {
            assert_eq!(Integer::from_decimal(text), None, "{text}");
        }
    }
}
