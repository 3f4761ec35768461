//! Parses JSON.

mod float;
mod memory;
mod number;
mod text;

use std::borrow::Cow;

pub(crate) use self::memory::scan_memory;
use crate::{
    MAX_DEPTH, Map, Value,
    memory::{ALLOCATION, Costs, LARGE_LIST, Meter},
    schema::{FormatReader, ReadError, SyntaxError},
};

/// A parser for JSON text that accepts the same input as Python (PROTOCOL 4.7 and 4.8).
///
/// The parser is not recursive. Incomplete lists and maps are kept in a vector, so nesting uses the
/// heap instead of the stack.
pub(super) struct JsonReader<'de> {
    text: &'de str,
    offset: usize,
    depth: usize,
    meter: Meter,
}

enum OpenContainer {
    List(Vec<Value>),
    /// A map and the key of the value that is being parsed.
    Map(Map, String),
}

pub(super) struct MapCursor {
    first: bool,
}

impl<'de> JsonReader<'de> {
    pub(super) fn new(payload: &'de [u8], max_memory: usize) -> Result<Self, SyntaxError> {
        let text = std::str::from_utf8(payload).map_err(|error| SyntaxError {
            reason: "not UTF-8",
            offset: error.valid_up_to(),
        })?;
        let mut reader = Self {
            text,
            offset: 0,
            depth: 0,
            meter: Meter::new(max_memory, payload.len()),
        };
        if text.starts_with('\u{feff}') {
            return Err(reader.error("byte-order mark"));
        }
        reader.skip_white_space();
        Ok(reader)
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError {
            reason,
            offset: self.offset,
        }
    }

    fn rest(&self) -> &'de [u8] {
        // `offset` never exceeds the length.
        &self.text.as_bytes()[self.offset..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    fn skip_white_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.offset += 1;
        }
    }

    /// Consumes one byte of punctuation and the white space after it.
    fn advance(&mut self) {
        self.offset += 1;
        self.skip_white_space();
    }

    fn expect(&mut self, byte: u8, reason: &'static str) -> Result<(), SyntaxError> {
        if self.peek() != Some(byte) {
            return Err(self.error(reason));
        }
        self.advance();
        Ok(())
    }

    fn open(&mut self) -> Result<(), SyntaxError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested deeper than 256 levels"));
        }
        self.depth += 1;
        self.advance();
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.advance();
    }

    fn key(&mut self) -> Result<Cow<'de, str>, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key in double quotes"));
        }
        let key = self.string()?;
        self.expect(b':', "expected ':' after a key")?;
        Ok(key)
    }

    /// Parses a value that is not a list or map.
    fn scalar(&mut self) -> Result<Value, SyntaxError> {
        match self.peek() {
            Some(b'"') => self.string().map(|text| Value::Text(text.into_owned())),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'n') => self.literal("null", Value::Null),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'N') => self.literal("NaN", Value::Float(f64::NAN)),
            Some(b'I') => self.literal("Infinity", Value::Float(f64::INFINITY)),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("unexpected end")),
        }
    }

    fn literal(&mut self, literal: &str, value: Value) -> Result<Value, SyntaxError> {
        if !self.rest().starts_with(literal.as_bytes()) {
            return Err(self.error("expected a value"));
        }
        self.offset += literal.len();
        self.skip_white_space();
        Ok(value)
    }
}

impl<'de> FormatReader<'de> for JsonReader<'de> {
    const FORMAT: &'static str = "JSON";
    type Position = (usize, usize, Meter);
    type MapCursor = MapCursor;

    fn position(&self) -> Self::Position {
        (self.offset, self.depth, self.meter)
    }

    fn seek(&mut self, (offset, depth, _): Self::Position) {
        self.offset = offset;
        self.depth = depth;
    }

    fn rewind(&mut self, position: Self::Position) {
        self.seek(position);
        self.meter = position.2;
    }

    fn memory(&self) -> usize {
        self.meter.used()
    }

    fn len_since(&self, (offset, ..): Self::Position) -> usize {
        self.offset - offset
    }

    fn next_kind(&self) -> &'static str {
        match self.peek() {
            Some(b'{') => "map",
            Some(b'[') => "list",
            Some(b'"') => "text",
            Some(b't' | b'f') => "bool",
            Some(b'n') => "null",
            _ => "integer",
        }
    }

    fn enter_map(&mut self) -> Result<Option<MapCursor>, SyntaxError> {
        if self.peek() != Some(b'{') {
            return Ok(None);
        }
        self.open()?;
        Ok(Some(MapCursor { first: true }))
    }

    fn next_key(&mut self, cursor: &mut MapCursor) -> Result<Option<Cow<'de, str>>, SyntaxError> {
        let first = std::mem::replace(&mut cursor.first, false);
        if self.peek() == Some(b'}') {
            self.close();
            return Ok(None);
        }
        if !first {
            self.expect(b',', "expected ',' or '}'")?;
        }
        self.key().map(Some)
    }

    fn text(&mut self) -> Result<Option<Cow<'de, str>>, SyntaxError> {
        if self.peek() == Some(b'"') {
            self.string().map(Some)
        } else {
            Ok(None)
        }
    }

    fn value(&mut self) -> Result<Value, ReadError> {
        let mut stack: Vec<OpenContainer> = Vec::new();
        'value: loop {
            let mut value = match self.peek() {
                Some(b'[') => {
                    self.open()?;
                    if self.peek() != Some(b']') {
                        self.meter.charge(COSTS.list)?;
                        // Nested lists of one element use the most memory per byte of text. With
                        // the default capacity of four, they would use 80 bytes per byte of text.
                        stack.push(OpenContainer::List(Vec::with_capacity(1)));
                        continue 'value;
                    }
                    self.close();
                    Value::List(Vec::new())
                }
                Some(b'{') => {
                    self.open()?;
                    if self.peek() != Some(b'}') {
                        self.meter.charge(COSTS.map)?;
                        stack.push(OpenContainer::Map(Map::new(), self.key()?.into_owned()));
                        continue 'value;
                    }
                    self.close();
                    Value::Map(Map::new())
                }
                Some(b'"') => {
                    self.meter.charge(COSTS.text)?;
                    self.scalar()?
                }
                _ => self.scalar()?,
            };
            // The value is complete. Add the value to its container, which may also be complete
            // now.
            loop {
                match stack.last_mut() {
                    None => return Ok(value),
                    Some(OpenContainer::List(list)) => {
                        self.meter.charge(COSTS.element)?;
                        if list.len() == list.capacity() && list.len() >= LARGE_LIST {
                            list.reserve_exact(list.len() / 4);
                        }
                        list.push(value);
                        match self.peek() {
                            Some(b',') => {
                                self.advance();
                                continue 'value;
                            }
                            Some(b']') => self.close(),
                            _ => return Err(self.error("expected ',' or ']'").into()),
                        }
                    }
                    Some(OpenContainer::Map(map, key)) => {
                        self.meter.charge(COSTS.entry)?;
                        if map.len() == map.capacity() && map.len() >= LARGE_LIST {
                            map.reserve_exact(map.len() / 4);
                        }
                        map.insert(std::mem::take(key), value);
                        match self.peek() {
                            Some(b',') => {
                                self.advance();
                                *key = self.key()?.into_owned();
                                continue 'value;
                            }
                            Some(b'}') => self.close(),
                            _ => return Err(self.error("expected ',' or '}'").into()),
                        }
                    }
                }
                value = match stack.pop() {
                    Some(OpenContainer::List(list)) => Value::List(list),
                    Some(OpenContainer::Map(map, _)) => Value::Map(map),
                    // Unreachable, because `last_mut` returned an element above.
                    None => Value::Null,
                };
            }
        }
    }

    fn skip(&mut self) -> Result<(), SyntaxError> {
        let start = self.depth;
        let mut is_map = [false; MAX_DEPTH];
        'value: loop {
            match self.peek() {
                Some(b'[') => {
                    self.open()?;
                    is_map[self.depth - 1] = false;
                    if self.peek() != Some(b']') {
                        continue 'value;
                    }
                    self.close();
                }
                Some(b'{') => {
                    self.open()?;
                    is_map[self.depth - 1] = true;
                    if self.peek() != Some(b'}') {
                        self.key()?;
                        continue 'value;
                    }
                    self.close();
                }
                Some(b'"') => {
                    self.string()?;
                }
                _ => {
                    self.scalar()?;
                }
            }
            // The value is complete, so its container may also be complete.
            while self.depth > start {
                match (self.peek(), is_map[self.depth - 1]) {
                    (Some(b','), false) => {
                        self.advance();
                        continue 'value;
                    }
                    (Some(b','), true) => {
                        self.advance();
                        self.key()?;
                        continue 'value;
                    }
                    (Some(b']'), false) | (Some(b'}'), true) => self.close(),
                    (_, false) => return Err(self.error("expected ',' or ']'")),
                    (_, true) => return Err(self.error("expected ',' or '}'")),
                }
            }
            return Ok(());
        }
    }

    fn finish(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("extra data after the value")),
        }
    }
}

/// A list doubles its capacity while it is short, and a map has space for four entries from the
/// first one on.
pub(crate) const COSTS: Costs = Costs {
    list: 2 * ALLOCATION,
    element: size_of::<Value>() * 8 / 5,
    map: 4 * ALLOCATION,
    entry: size_of::<(String, Value)>() * 8 / 5 + ALLOCATION + INDEX_SLOT,
    text: ALLOCATION,
};

/// The size of a slot in the hash table of a large map, with the spare slots.
const INDEX_SLOT: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::from_slice;

    fn round_trip(text: &str) -> String {
        from_slice(text.as_bytes())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .to_string()
    }

    fn refused(text: &[u8]) -> String {
        from_slice(text)
            .expect_err(&String::from_utf8_lossy(text))
            .to_string()
    }

    #[test]
    fn text_written_by_python_round_trips() {
        for text in [
            "null",
            "true",
            "[]",
            "{}",
            r#"{"b": [1, -2, 2.5, "x"], "a": {"": null}}"#,
            "1180591620717411303424",
            // The digits start with 2^64, which wraps to 0 in 64 bits.
            "184467440737095516160",
            "[999999999999999999, -999999999999999999, 1000000000000000000, -9223372036854775808]",
            "-0.0",
            "[NaN, Infinity, -Infinity]",
            r#""\u0000\b\t\n\u000b\f\r\u001f \"\\/\u007f\u0080\u00e9\u2028\ud83e\udd80""#,
        ] {
            assert_eq!(round_trip(text), text);
        }
    }

    #[test]
    fn text_from_other_writers_is_parsed_as_python_parses_it() {
        for (text, expected) in [
            (" \t\r\n{ \"a\" :\n1 , \"b\":[ ] } ", r#"{"a": 1, "b": []}"#),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
            ("-0", "0"),
            ("1e999", "Infinity"),
            ("-1e999", "-Infinity"),
            ("1e-999", "0.0"),
            ("1E5", "100000.0"),
            ("0.1e1", "1.0"),
            (
                r#""\u003c\u003E\/é🦀\uD83E\uDD80""#,
                r#""<>/\u00e9\ud83e\udd80\ud83e\udd80""#,
            ),
        ] {
            assert_eq!(round_trip(text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_json_is_refused_with_its_position() {
        for (text, reason) in [
            (&b""[..], "unexpected end at byte 0"),
            (b"{x", "expected a key in double quotes at byte 1"),
            (b"{\"a\" 1}", "expected ':' after a key at byte 5"),
            (b"{\"a\":1,}", "expected a key in double quotes at byte 7"),
            (b"[1,]", "expected a value at byte 3"),
            (b"[1 2]", "expected ',' or ']' at byte 3"),
            (b"[1", "expected ',' or ']' at byte 2"),
            (b"nul", "expected a value at byte 0"),
            (b"01", "extra data after the value at byte 1"),
            (b"1.", "expected a digit at byte 2"),
            (b".5", "expected a value at byte 0"),
            (b"+1", "expected a value at byte 0"),
            (b"1e", "expected a digit at byte 2"),
            (b"-", "expected a digit at byte 1"),
            (b"-NaN", "expected a digit at byte 1"),
            (b"\"a\x01\"", "control character in text at byte 2"),
            (b"\"abc", "unexpected end of text at byte 4"),
            (b"\"a\\", "unknown escape in text at byte 2"),
            (b"\"\\x41\"", "unknown escape in text at byte 1"),
            (b"\"\\u12", "expected four hex digits at byte 3"),
            (b"\"\\u12g4\"", "expected four hex digits at byte 3"),
            (b"\"\\ud800\"", "lone surrogate in text at byte 1"),
            (b"\"\\udc00\"", "lone surrogate in text at byte 1"),
            (b"\"\\ud800\\u0041\"", "lone surrogate in text at byte 1"),
            (b"\xff", "not UTF-8 at byte 0"),
            (b"\xef\xbb\xbf{}", "byte-order mark at byte 0"),
            (b"1 x", "extra data after the value at byte 2"),
            (b"{}{}", "extra data after the value at byte 2"),
        ] {
            assert_eq!(refused(text), format!("Failed to decode JSON: {reason}"));
        }
    }

    #[test]
    fn nesting_is_bounded_in_both_directions() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(round_trip(&nested(MAX_DEPTH)), nested(MAX_DEPTH));
        assert!(refused(nested(MAX_DEPTH + 1).as_bytes()).contains("deeper"));
        assert!(refused("[".repeat(1_000_000).as_bytes()).contains("deeper"));
        assert!(refused("{\"a\":".repeat(1_000_000).as_bytes()).contains("deeper"));

        let mut value = Value::Null;
        for _ in 0..=MAX_DEPTH {
            value = Value::List(vec![value]);
        }
        assert!(value.to_string().contains("nested deeper than 256 levels"));
    }
}
