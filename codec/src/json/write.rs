use bytes::{BufMut, BytesMut};

use super::{float, scan};
use crate::{EncodeError, Integer, MAX_DEPTH, schema::Sink, value::IntegerRef};

pub(super) struct Writer<'a> {
    buffer: &'a mut BytesMut,
    depth: usize,
    for_display: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(buffer: &'a mut BytesMut) -> Self {
        Self {
            buffer,
            depth: 0,
            for_display: false,
        }
    }

    /// A writer for people, who may see what JSON does not have.
    pub(super) fn for_display(buffer: &'a mut BytesMut) -> Self {
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
        self.buffer.put_u8(bracket);
        Ok(())
    }

    fn close(&mut self, bracket: u8) {
        self.depth -= 1;
        self.buffer.put_u8(bracket);
    }
}

impl Sink for Writer<'_> {
    fn begin_map(&mut self, _len: usize) -> Result<(), EncodeError> {
        self.open(b'{')
    }

    fn key(&mut self, index: usize, key: &str) {
        self.element(index);
        self.text(key);
        self.buffer.put_slice(b": ");
    }

    fn end_map(&mut self) {
        self.close(b'}');
    }

    fn begin_list(&mut self, _len: usize) -> Result<(), EncodeError> {
        self.open(b'[')
    }

    fn element(&mut self, index: usize) {
        if index > 0 {
            self.buffer.put_slice(b", ");
        }
    }

    fn end_list(&mut self) {
        self.close(b']');
    }

    fn null(&mut self) {
        self.buffer.put_slice(b"null");
    }

    fn bool(&mut self, flag: bool) {
        self.buffer.put_slice(if flag { b"true" } else { b"false" });
    }

    fn integer(&mut self, integer: &Integer) -> Result<(), EncodeError> {
        match integer.as_ref() {
            IntegerRef::Signed(signed) => {
                self.buffer
                    .put_slice(itoa::Buffer::new().format(signed).as_bytes());
            }
            IntegerRef::Unsigned(unsigned) => {
                self.buffer
                    .put_slice(itoa::Buffer::new().format(unsigned).as_bytes());
            }
            IntegerRef::Big(digits) => self.buffer.put_slice(digits.as_bytes()),
        }
        Ok(())
    }

    fn float(&mut self, float: f64) {
        float::write(float, self.buffer);
    }

    fn text(&mut self, text: &str) {
        // One reservation covers text without escapes, which most is.
        self.buffer.reserve(text.len() + 2);
        self.buffer.put_u8(b'"');
        let mut rest = text;
        loop {
            let (plain, after) = rest.split_at(scan::writable_len(rest.as_bytes()));
            self.buffer.put_slice(plain.as_bytes());
            let mut characters = after.chars();
            let Some(character) = characters.next() else {
                break;
            };
            write_escape(character, self.buffer);
            rest = characters.as_str();
        }
        self.buffer.put_u8(b'"');
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        if !self.for_display {
            return Err(EncodeError::BytesInJson);
        }
        self.buffer.put_slice(b"b\"");
        self.buffer
            .put_slice(bytes.escape_ascii().to_string().as_bytes());
        self.buffer.put_u8(b'"');
        Ok(())
    }
}

fn write_escape(character: char, buffer: &mut BytesMut) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        _ => {
            for &unit in character.encode_utf16(&mut [0; 2]).iter() {
                write_unit(unit, buffer);
            }
            return;
        }
    };
    buffer.put_slice(&[b'\\', short]);
}

fn write_unit(unit: u16, buffer: &mut BytesMut) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| HEX[usize::from(unit >> shift & 0xf)];
    buffer.put_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}
