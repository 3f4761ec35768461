use std::borrow::Cow;

use super::Reader;
use crate::{json::scan, schema::Syntax};

impl<'de> Reader<'de> {
    /// Text in quotes, borrowed if nothing in it is escaped.
    pub(super) fn string(&mut self) -> Result<Cow<'de, str>, Syntax> {
        self.at += 1;
        let start = self.at;
        self.at += scan::literal_len(self.rest());
        let literal = &self.text[start..self.at];
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
            let start = self.at;
            // Escapes often follow each other, so look before scanning.
            if !matches!(self.peek(), Some(b'\\' | b'"')) {
                self.at += scan::literal_len(self.rest());
                text.push_str(&self.text[start..self.at]);
            }
        }
    }

    fn escape(&mut self) -> Result<char, Syntax> {
        let start = self.at;
        self.at += 1;
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
                self.at += 1;
                return self.unicode_escape(start);
            }
            _ => {
                return Err(Syntax {
                    reason: "unknown escape in text",
                    offset: start,
                });
            }
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode_escape(&mut self, start: usize) -> Result<char, Syntax> {
        let lone = Syntax {
            reason: "lone surrogate in text",
            offset: start,
        };
        let unit = self.unit()?;
        if !(0xd800..0xe000).contains(&unit) {
            return char::from_u32(unit).ok_or(lone);
        }
        if unit >= 0xdc00 || !self.rest().starts_with(b"\\u") {
            return Err(lone);
        }
        self.at += 2;
        let low = self.unit()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(lone);
        }
        char::from_u32(0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00))).ok_or(lone)
    }

    fn unit(&mut self) -> Result<u32, Syntax> {
        let Some(digits) = self.rest().first_chunk::<4>() else {
            return Err(self.error("expected four hex digits"));
        };
        let mut unit = 0;
        for &digit in digits {
            let digit = char::from(digit).to_digit(16);
            unit = unit << 4 | digit.ok_or(self.error("expected four hex digits"))?;
        }
        self.at += 4;
        Ok(unit)
    }
}
