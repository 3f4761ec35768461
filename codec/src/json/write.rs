//! Writes JSON.

use super::{float, scan};
use crate::{
    EncodeError, Integer, MAX_DEPTH,
    schema::{Field, FormatWriter},
    text_writer::TextWriter,
    value::IntegerRef,
};

/// A writer for JSON. `COMPACT` selects the form that PROTOCOL 4.10 permits for large payloads.
pub(super) struct JsonWriter<'a, const COMPACT: bool = false> {
    buffer: &'a mut Vec<u8>,
    depth: usize,
    for_display: bool,
}

impl<'a, const COMPACT: bool> JsonWriter<'a, COMPACT> {
    pub(super) fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            buffer,
            depth: 0,
            for_display: false,
        }
    }

    /// Creates a writer for `Display`, which also writes values that have no JSON form.
    pub(super) fn for_display(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            for_display: true,
            ..Self::new(buffer)
        }
    }

    fn open(&mut self, bracket: u8) -> Result<(), EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError::TooDeep { max: MAX_DEPTH });
        }
        self.depth += 1;
        self.buffer.push(bracket);
        Ok(())
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.buffer.push(bracket);
    }
}

impl<const COMPACT: bool> TextWriter for JsonWriter<'_, COMPACT> {
    fn text(&mut self, text: &str) {
        if COMPACT {
            return write_compact_text(text, self.buffer);
        }
        if text.len() > COPY_CHUNK {
            return write_long_text(text, self.buffer);
        }
        let plain = scan::writable_len(text.as_bytes());
        // This capacity suffices for text without escapes, which is the common case.
        self.buffer.reserve(text.len() + 2);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(&text.as_bytes()[..plain]);
        if plain < text.len() {
            write_escaped(&text[plain..], self.buffer);
        }
        self.buffer.push(b'"');
    }

    fn ascii_text(&mut self, text: &[u8]) {
        self.buffer.reserve(text.len() + 2);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(text);
        self.buffer.push(b'"');
    }
}

impl<const COMPACT: bool> FormatWriter for JsonWriter<'_, COMPACT> {
    fn begin_map(&mut self, _len: usize) -> Result<(), EncodeError> {
        self.open(b'{')
    }

    fn key(&mut self, index: usize, key: &str) {
        self.element(index);
        self.text(key);
        self.buffer
            .extend_from_slice(if COMPACT { b":" } else { b": " });
    }

    #[inline]
    fn field(&mut self, index: usize, field: Field) {
        if COMPACT {
            self.element(index);
            self.buffer
                .extend_from_slice(&field.json.as_bytes()[2..field.json.len() - 1]);
            return;
        }
        let separator = if index == 0 { 2 } else { 0 };
        self.buffer
            .extend_from_slice(&field.json.as_bytes()[separator..]);
    }

    fn end_map(&mut self) {
        self.close(b'}');
    }

    fn begin_list(&mut self, _len: usize) -> Result<(), EncodeError> {
        self.open(b'[')
    }

    fn element(&mut self, index: usize) {
        if index > 0 {
            self.buffer
                .extend_from_slice(if COMPACT { b"," } else { b", " });
        }
    }

    fn end_list(&mut self) {
        self.close(b']');
    }

    fn null(&mut self) {
        self.buffer.extend_from_slice(b"null");
    }

    fn bool(&mut self, flag: bool) {
        self.buffer
            .extend_from_slice(if flag { b"true" } else { b"false" });
    }

    fn integer(&mut self, integer: &Integer) -> Result<(), EncodeError> {
        match integer.as_ref() {
            IntegerRef::Signed(signed) => {
                self.buffer
                    .extend_from_slice(itoa::Buffer::new().format(signed).as_bytes());
            }
            IntegerRef::Unsigned(unsigned) => {
                self.buffer
                    .extend_from_slice(itoa::Buffer::new().format(unsigned).as_bytes());
            }
            IntegerRef::Big(digits) => self.buffer.extend_from_slice(digits.as_bytes()),
        }
        Ok(())
    }

    fn float(&mut self, float: f64) {
        if COMPACT {
            float::write_compact(float, self.buffer);
        } else {
            float::write(float, self.buffer);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if !self.for_display {
            return Err(EncodeError::BytesInJson);
        }
        self.buffer.extend_from_slice(b"b\"");
        self.buffer
            .extend_from_slice(bytes.escape_ascii().to_string().as_bytes());
        self.buffer.push(b'"');
        Ok(())
    }
}

/// Writes text in chunks, so that each chunk is still in the cache when it is copied after the
/// scan.
#[cold]
fn write_long_text(text: &str, buffer: &mut Vec<u8>) {
    buffer.reserve(text.len() + 2);
    buffer.push(b'"');
    let mut plain = 0;
    for part in text.as_bytes().chunks(COPY_CHUNK) {
        let len = scan::writable_len(part);
        buffer.extend_from_slice(&part[..len]);
        plain += len;
        if len < part.len() {
            write_escaped(&text[plain..], buffer);
            break;
        }
    }
    buffer.push(b'"');
}

/// Writes text as UTF-8, in which only quotes, backslashes and control characters are escaped.
fn write_compact_text(text: &str, buffer: &mut Vec<u8>) {
    buffer.push(b'"');
    let mut rest = text;
    loop {
        let plain = scan::literal_len(rest.as_bytes());
        buffer.extend_from_slice(&rest.as_bytes()[..plain]);
        let mut characters = rest[plain..].chars();
        let Some(character) = characters.next() else {
            break;
        };
        write_escape(character, buffer);
        rest = characters.as_str();
    }
    buffer.push(b'"');
}

/// Writes text whose first character must be escaped.
fn write_escaped(text: &str, buffer: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        // Characters that must be escaped usually form runs. In text in most scripts other than
        // Latin, for example, each word is one run of such characters.
        let mut characters = rest.chars();
        while let Some(character) = characters.clone().next().filter(|c| must_escape(*c)) {
            write_escape(character, buffer);
            characters.next();
        }
        rest = characters.as_str();
        let plain = scan::writable_len(rest.as_bytes());
        buffer.extend_from_slice(&rest.as_bytes()[..plain]);
        rest = &rest[plain..];
    }
}

fn must_escape(character: char) -> bool {
    !matches!(character, ' '..='~') || character == '"' || character == '\\'
}

fn write_escape(character: char, buffer: &mut Vec<u8>) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        _ => {
            let code = u32::from(character);
            match u16::try_from(code) {
                Ok(unit) => buffer.extend_from_slice(&escaped_unit(unit)),
                Err(_) => {
                    let above = code - 0x10000;
                    // Each surrogate encodes ten bits.
                    let (high, low) = (
                        0xd800 | (above >> 10) as u16,
                        0xdc00 | (above & 0x3ff) as u16,
                    );
                    buffer.extend_from_slice(&escaped_unit(high));
                    buffer.extend_from_slice(&escaped_unit(low));
                }
            }
            return;
        }
    };
    buffer.extend_from_slice(&[b'\\', short]);
}

fn escaped_unit(unit: u16) -> [u8; 6] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| HEX[usize::from(unit >> shift & 0xf)];
    [b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]
}

/// The chunk size for long text. The source and the destination of a chunk fit together into a
/// small L1 data cache.
const COPY_CHUNK: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::COPY_CHUNK;
    use crate::{Value, json};

    #[test]
    fn long_text_is_escaped_at_any_position() {
        for position in [
            0,
            1,
            COPY_CHUNK - 1,
            COPY_CHUNK,
            COPY_CHUNK + 1,
            2 * COPY_CHUNK - 1,
            3 * COPY_CHUNK,
        ] {
            let mut text = "x".repeat(3 * COPY_CHUNK);
            text.insert_str(position, "\"é\n");
            let mut expected = format!("\"{text}\"");
            expected.replace_range(position + 1..position + 5, "\\\"\\u00e9\\n");
            let written = Value::from(text.as_str()).to_string();
            assert!(written == expected, "at {position}");
            let read: Value = json::from_slice(written.as_bytes()).expect("JSON");
            assert_eq!(read.as_str(), Some(text.as_str()));
        }
    }
}
