//! Parses numbers.

use super::{JsonReader, float};
use crate::{Integer, Value, schema::SyntaxError};

impl JsonReader<'_> {
    /// Parses a number. The caller has checked the first byte.
    pub(super) fn number(&mut self) -> Result<Value, SyntaxError> {
        let start = self.offset;
        if self.peek() == Some(b'-') {
            self.offset += 1;
            if self.peek() == Some(b'I') {
                return self.literal("Infinity", Value::Float(f64::NEG_INFINITY));
            }
        }
        let (negative, first) = (self.offset > start, self.offset);
        let mut small: u64 = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            small = small.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.offset += 1;
            // A leading zero must not be followed by another digit.
            if digit == b'0' && self.offset == first + 1 {
                break;
            }
        }
        match (self.offset - first, self.peek()) {
            (0, _) => return Err(self.error("expected a digit")),
            (_, Some(b'.' | b'e' | b'E')) => {}
            // In the common case of a short integer, the digits are already converted.
            (1..=SMALL_DIGITS, _) => {
                self.skip_white_space();
                let magnitude = small as i64;
                let signed = if negative { -magnitude } else { magnitude };
                return Ok(Value::Integer(signed.into()));
            }
            _ => {}
        }
        let mut integer = true;
        let mut digits = self.offset - first;
        if self.peek() == Some(b'.') {
            integer = false;
            self.offset += 1;
            digits += self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            integer = false;
            self.offset += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.offset += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.offset];
        let value = if integer {
            Integer::from_decimal(text).map(Value::Integer)
        } else {
            Some(Value::Float(float::read(text, digits)))
        };
        self.skip_white_space();
        value.ok_or(SyntaxError {
            reason: "expected a number",
            offset: start,
        })
    }

    /// Skips a sequence of at least one digit and returns its length.
    fn digits(&mut self) -> Result<usize, SyntaxError> {
        let len = self
            .rest()
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if len == 0 {
            return Err(self.error("expected a digit"));
        }
        self.offset += len;
        Ok(len)
    }
}

/// The number of decimal digits that always fit into an `i64`.
const SMALL_DIGITS: usize = 18;
