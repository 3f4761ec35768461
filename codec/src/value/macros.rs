//! The macros `value!` and `map!`.

/// Creates a [`Value`](crate::Value) from syntax that looks like JSON.
///
/// A value is `null`, a list, a map, or any expression that converts into a
/// [`Value`](crate::Value). A key is a literal, a variable, or an expression in parentheses.
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::value;
///
/// let unit = "°C";
/// let answer = value!({
///     "city": "Oslo",
///     "degrees": [-3, 2.5, null],
///     "unit": unit,
///     (format!("in {unit}")): true,
/// });
/// assert_eq!(answer["degrees"][1].as_f64(), Some(2.5));
/// ```
#[macro_export]
macro_rules! value {
    (null) => { $crate::Value::Null };
    ({ $($entries:tt)* }) => { $crate::Value::Map($crate::map!($($entries)*)) };
    ([ $($element:tt),* $(,)? ]) => {
        $crate::Value::List(::std::vec![$($crate::value!($element)),*])
    };
    // At least one element consists of several tokens, such as `-1`.
    ([ $($elements:tt)+ ]) => {
        $crate::Value::List($crate::__value_list!([] $($elements)+))
    };
    ($value:expr) => { $crate::Value::from($value) };
}

/// Creates a [`Map`](crate::Map) from syntax that looks like the entries of a JSON object. The
/// syntax of the entries is the same as in [`value!`](crate::value!).
///
/// ```
/// # mod agentwire { pub use agentwire_codec::*; }
/// use agentwire::map;
///
/// let arguments = map! {"city": "Oslo", "days": [1, 2]};
/// assert_eq!(arguments["days"][1].as_i64(), Some(2));
/// ```
#[macro_export]
macro_rules! map {
    () => { $crate::Map::new() };
    ($($key:tt : $value:tt),+ $(,)?) => {{
        let mut map = $crate::Map::new();
        $(map.insert($crate::__value_key!($key), $crate::value!($value));)+
        map
    }};
    ($($entries:tt)+) => {{
        let mut map = $crate::Map::new();
        $crate::__value_map!(map $($entries)+);
        map
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __value_key {
    (($key:expr)) => {
        $key
    };
    ($key:expr) => {
        $key
    };
}

// Parses one element per step and moves its expression into the leading brackets. `null`, lists and
// maps are not Rust expressions, so their rules precede the rule for expressions.
#[doc(hidden)]
#[macro_export]
macro_rules! __value_list {
    ([$($done:tt)*]) => { ::std::vec![$($done)*] };
    ([$($done:tt)*] null $(, $($rest:tt)*)?) => {
        $crate::__value_list!([$($done)* $crate::value!(null),] $($($rest)*)?)
    };
    ([$($done:tt)*] [$($inner:tt)*] $(, $($rest:tt)*)?) => {
        $crate::__value_list!([$($done)* $crate::value!([$($inner)*]),] $($($rest)*)?)
    };
    ([$($done:tt)*] {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        $crate::__value_list!([$($done)* $crate::value!({$($inner)*}),] $($($rest)*)?)
    };
    ([$($done:tt)*] $value:expr $(, $($rest:tt)*)?) => {
        $crate::__value_list!([$($done)* $crate::Value::from($value),] $($($rest)*)?)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __value_map {
    ($map:ident) => {};
    ($map:ident $key:tt : null $(, $($rest:tt)*)?) => {
        $crate::__value_map!(@ $map $key (null) $($($rest)*)?)
    };
    ($map:ident $key:tt : [$($inner:tt)*] $(, $($rest:tt)*)?) => {
        $crate::__value_map!(@ $map $key ([$($inner)*]) $($($rest)*)?)
    };
    ($map:ident $key:tt : {$($inner:tt)*} $(, $($rest:tt)*)?) => {
        $crate::__value_map!(@ $map $key ({$($inner)*}) $($($rest)*)?)
    };
    ($map:ident $key:tt : $value:expr $(, $($rest:tt)*)?) => {
        $crate::__value_map!(@ $map $key ($value) $($($rest)*)?)
    };
    (@ $map:ident $key:tt ($($value:tt)+) $($rest:tt)*) => {
        $map.insert($crate::__value_key!($key), $crate::value!($($value)+));
        $crate::__value_map!($map $($rest)*);
    };
}

#[cfg(test)]
mod tests {
    use crate::{Map, Value};

    #[test]
    fn json_syntax_becomes_the_value_that_it_denotes() {
        let (word, number) = ("text", 7_u8);
        let made = value!({
            "null": null,
            "flags": [true, false],
            "numbers": [1, -2, 2.5, -0.0, u128::MAX],
            "nested": {"list": [[], {}, [null, {"a": -1}]], "map": {}},
            "variables": [word, number, number + 1, word.to_uppercase(), [number - 1][0]],
            word: Some(1),
            (format!("{word} {number}")): Option::<bool>::None,
            "trailing": [1, 2,],
        });
        let written = r#"{"null": null, "flags": [true, false], "numbers": [1, -2, 2.5, -0.0, 340282366920938463463374607431768211455], "nested": {"list": [[], {}, [null, {"a": -1}]], "map": {}}, "variables": ["text", 7, 8, "TEXT", 6], "text": 1, "text 7": null, "trailing": [1, 2]}"#;
        assert_eq!(made.to_string(), written);
    }

    #[test]
    fn the_macros_accept_a_single_value_and_a_map_without_braces() {
        assert_eq!(value!(null), Value::Null);
        assert_eq!(value!(-1), Value::from(-1));
        assert_eq!(value!("text"), Value::from("text"));
        assert_eq!(value!([]), Value::List(Vec::new()));
        assert_eq!(value!({}), Value::Map(Map::new()));
        assert_eq!(map! {}, Map::new());
        assert_eq!(map! {"a": -1, "a": null}, Map::from([("a", Value::Null)]));
    }
}
