//! Writes MessagePack.

use bytes::BufMut;

use crate::{
    EncodeError, Integer, MAX_DEPTH,
    schema::{Field, FormatWriter},
    text_writer::TextWriter,
    value::IntegerRef,
};

pub(super) struct MsgpackWriter<'a> {
    buffer: &'a mut Vec<u8>,
    depth: usize,
    is_compact: bool,
}

/// The markers for the lengths of one type.
struct Header {
    /// The marker of the short form and the maximum length in this form.
    short: Option<(u8, usize)>,
    len_8: Option<u8>,
    len_16: u8,
    len_32: u8,
}

impl<'a> MsgpackWriter<'a> {
    pub(super) fn new(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            buffer,
            depth: 0,
            is_compact: false,
        }
    }

    /// Creates a writer for the form that PROTOCOL 10.6 permits for large payloads.
    pub(super) fn compact(buffer: &'a mut Vec<u8>) -> Self {
        Self {
            is_compact: true,
            ..Self::new(buffer)
        }
    }

    #[inline]
    fn header(&mut self, header: &Header, len: usize) {
        if let Some((first, _)) = header.short.filter(|(_, longest)| len <= *longest) {
            // The length is at most 31, so it fits into the same byte as the marker.
            self.buffer.put_u8(first | len as u8);
        } else if let (Some(first), Ok(len)) = (header.len_8, u8::try_from(len)) {
            self.buffer.put_slice(&[first, len]);
        } else if let Ok(len) = u16::try_from(len) {
            self.buffer.put_u8(header.len_16);
            self.buffer.put_u16(len);
        } else {
            self.buffer.put_u8(header.len_32);
            // A frame cannot contain such a length because the length of the frame has only 32
            // bits. `put_frame` rejects the payload.
            self.buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
        }
    }

    fn open(&mut self, header: &Header, len: usize) -> Result<(), EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError::TooDeep { max: MAX_DEPTH });
        }
        self.depth += 1;
        self.header(header, len);
        Ok(())
    }

    fn unsigned(&mut self, number: u64) {
        if let Ok(number) = u8::try_from(number) {
            if number > 0x7f {
                self.buffer.put_u8(0xcc);
            }
            self.buffer.put_u8(number);
        } else if let Ok(number) = u16::try_from(number) {
            self.buffer.put_u8(0xcd);
            self.buffer.put_u16(number);
        } else if let Ok(number) = u32::try_from(number) {
            self.buffer.put_u8(0xce);
            self.buffer.put_u32(number);
        } else {
            self.buffer.put_u8(0xcf);
            self.buffer.put_u64(number);
        }
    }

    fn negative(&mut self, number: i64) {
        if let Ok(number) = i8::try_from(number) {
            if number < -32 {
                self.buffer.put_u8(0xd0);
            }
            self.buffer.put_i8(number);
        } else if let Ok(number) = i16::try_from(number) {
            self.buffer.put_u8(0xd1);
            self.buffer.put_i16(number);
        } else if let Ok(number) = i32::try_from(number) {
            self.buffer.put_u8(0xd2);
            self.buffer.put_i32(number);
        } else {
            self.buffer.put_u8(0xd3);
            self.buffer.put_i64(number);
        }
    }
}

impl TextWriter for MsgpackWriter<'_> {
    fn text(&mut self, text: &str) {
        self.ascii_text(text.as_bytes());
    }

    fn ascii_text(&mut self, text: &[u8]) {
        self.buffer.reserve(text.len() + MAX_HEADER_LEN);
        if text.len() < 32 {
            self.buffer.push(0xa0 | text.len() as u8);
        } else {
            self.header(&TEXT, text.len());
        }
        self.buffer.extend_from_slice(text);
    }
}

impl FormatWriter for MsgpackWriter<'_> {
    fn begin_map(&mut self, len: usize) -> Result<(), EncodeError> {
        self.open(&MAP, len)
    }

    fn key(&mut self, _index: usize, key: &str) {
        self.text(key);
    }

    #[inline]
    fn field(&mut self, _index: usize, field: Field) {
        self.buffer.extend_from_slice(field.msgpack);
    }

    fn end_map(&mut self) {
        self.depth -= 1;
    }

    fn begin_list(&mut self, len: usize) -> Result<(), EncodeError> {
        self.open(&LIST, len)
    }

    fn element(&mut self, _index: usize) {}

    fn end_list(&mut self) {
        self.depth -= 1;
    }

    fn null(&mut self) {
        self.buffer.put_u8(0xc0);
    }

    fn bool(&mut self, flag: bool) {
        self.buffer.put_u8(0xc2 | u8::from(flag));
    }

    fn integer(&mut self, integer: &Integer) -> Result<(), EncodeError> {
        match integer.as_ref() {
            IntegerRef::Signed(signed) => match u64::try_from(signed) {
                Ok(unsigned) => self.unsigned(unsigned),
                Err(_) => self.negative(signed),
            },
            IntegerRef::Unsigned(unsigned) => self.unsigned(unsigned),
            IntegerRef::Big(_) => return Err(EncodeError::IntegerTooLarge),
        }
        Ok(())
    }

    fn float(&mut self, float: f64) {
        let short = float as f32;
        if self.is_compact && f64::from(short).to_bits() == float.to_bits() {
            self.buffer.put_u8(0xca);
            return self.buffer.put_f32(short);
        }
        self.buffer.put_u8(0xcb);
        self.buffer.put_f64(float);
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.buffer.reserve(bytes.len() + MAX_HEADER_LEN);
        self.header(&BYTES, bytes.len());
        self.buffer.put_slice(bytes);
        Ok(())
    }
}

const MAX_HEADER_LEN: usize = 5;

const TEXT: Header = Header {
    short: Some((0xa0, 31)),
    len_8: Some(0xd9),
    len_16: 0xda,
    len_32: 0xdb,
};

const BYTES: Header = Header {
    short: None,
    len_8: Some(0xc4),
    len_16: 0xc5,
    len_32: 0xc6,
};

const LIST: Header = Header {
    short: Some((0x90, 15)),
    len_8: None,
    len_16: 0xdc,
    len_32: 0xdd,
};

const MAP: Header = Header {
    short: Some((0x80, 15)),
    len_8: None,
    len_16: 0xde,
    len_32: 0xdf,
};
