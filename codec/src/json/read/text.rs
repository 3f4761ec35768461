//! Parses text with escapes.

use std::borrow::Cow;

use super::JsonReader;
use crate::{json::scan, schema::SyntaxError};

impl<'de> JsonReader<'de> {
    /// Parses text in quotes. Text without escapes is borrowed from the input.
    pub(super) fn string(&mut self) -> Result<Cow<'de, str>, SyntaxError> {
        self.offset += 1;
        let start = self.offset;
        self.offset += scan::literal_len(self.rest());
        let literal = &self.text[start..self.offset];
        if self.peek() == Some(b'"') {
            self.advance();
            return Ok(Cow::Borrowed(literal));
        }
        let mut text = String::with_capacity(literal.len() + 16);
        text.push_str(literal);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.advance();
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.error("control character in text")),
                None => return Err(self.error("unexpected end of text")),
            }
            let start = self.offset;
            // Escapes often occur in sequence, so check for another escape before scanning.
            if !matches!(self.peek(), Some(b'\\' | b'"')) {
                self.offset += scan::literal_len(self.rest());
                text.push_str(&self.text[start..self.offset]);
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        let start = self.offset;
        self.offset += 1;
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.offset += 1;
                return self.unicode_escape(start);
            }
            _ => {
                return Err(SyntaxError {
                    reason: "unknown escape in text",
                    offset: start,
                });
            }
        };
        self.offset += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self, start: usize) -> Result<char, SyntaxError> {
        let lone = SyntaxError {
            reason: "lone surrogate in text",
            offset: start,
        };
        let unit = self.utf16_unit()?;
        if !(0xd800..0xe000).contains(&unit) {
            return char::from_u32(unit).ok_or(lone);
        }
        if unit >= 0xdc00 || !self.rest().starts_with(b"\\u") {
            return Err(lone);
        }
        self.offset += 2;
        let low = self.utf16_unit()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(lone);
        }
        char::from_u32(0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00))).ok_or(lone)
    }

    fn utf16_unit(&mut self) -> Result<u32, SyntaxError> {
        let Some(digits) = self.rest().first_chunk::<4>() else {
            return Err(self.error("expected four hex digits"));
        };
        let mut unit = 0;
        for &digit in digits {
            let digit = char::from(digit).to_digit(16);
            unit = unit << 4 | digit.ok_or(self.error("expected four hex digits"))?;
        }
        self.offset += 4;
        Ok(unit)
    }
}
