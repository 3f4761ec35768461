//! Finds the parts of a body without decoding it: [`Entries`].

use agentwire_codec::{Format, Value};

/// The values of an object of JSON that matter for a message, as they are written.
///
/// The object is not decoded, so that a large body takes no memory. The brackets and texts of an
/// object are followed to its end, so a value that is copied into another text, and is then found
/// to be valid, cannot be more than one value.
#[derive(Debug, Default)]
pub(super) struct Entries<'a> {
    pub(super) message: Option<&'a [u8]>,
    pub(super) input: Option<&'a [u8]>,
    pub(super) content: Option<&'a [u8]>,
    pub(super) metadata: Option<&'a [u8]>,
    pub(super) role: Option<&'a [u8]>,
    pub(super) is_empty: bool,
}

impl<'a> Entries<'a> {
    /// Reads an object. Returns `None` if the text is not exactly one object.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        let mut rest = Rest(text);
        let mut entries = Self::default();
        rest.expect(b'{')?;
        if rest.peek() == Some(b'}') {
            entries.is_empty = true;
            rest.expect(b'}')?;
        } else {
            loop {
                let key = (rest.peek()? == b'"').then(|| rest.value())??;
                rest.expect(b':')?;
                let value = rest.value()?;
                if let Some(place) = entries.place(key) {
                    *place = Some(value);
                }
                if rest.peek()? != b',' {
                    break;
                }
                rest.expect(b',')?;
            }
            rest.expect(b'}')?;
        }
        rest.peek().is_none().then_some(entries)
    }

    fn place(&mut self, key: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        let decoded;
        let key = if key.contains(&b'\\') && key.len() <= MAX_KEY {
            decoded = Format::Json.decode_value(key).ok();
            decoded.as_ref().and_then(Value::as_str)?.as_bytes()
        } else {
            &key[1..key.len() - 1]
        };
        match key {
            b"message" => Some(&mut self.message),
            b"input" => Some(&mut self.input),
            b"content" => Some(&mut self.content),
            b"metadata" => Some(&mut self.metadata),
            b"role" => Some(&mut self.role),
            _ => None,
        }
    }
}

/// The text that has not been read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Returns the next byte that is not a space.
    fn peek(&mut self) -> Option<u8> {
        let spaces = self.0.iter().take_while(|byte| b" \t\n\r".contains(byte));
        self.0 = &self.0[spaces.count()..];
        self.0.first().copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.0 = &self.0[1..])
    }

    /// Reads a value.
    fn value(&mut self) -> Option<&'a [u8]> {
        self.peek()?;
        let (mut depth, mut len) = (0_usize, 0);
        loop {
            match *self.0.get(len)? {
                b'"' => len += text_len(&self.0[len..])?,
                b'{' | b'[' => {
                    depth += 1;
                    len += 1;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    len += 1;
                }
                // A scalar ends before what follows it.
                _ if depth > 0 => {
                    len += 1;
                    continue;
                }
                _ => len += scalar_len(&self.0[len..])?,
            }
            if depth == 0 {
                break;
            }
        }
        let (value, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(value)
    }
}

/// Returns the length of a text with its quotes.
fn text_len(text: &[u8]) -> Option<usize> {
    let mut len = 1;
    loop {
        match text.get(len)? {
            b'"' => return Some(len + 1),
            b'\\' => len += 2,
            _ => len += 1,
        }
    }
}

/// Returns the length of a number or a word, or `None` if there is none.
fn scalar_len(text: &[u8]) -> Option<usize> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let len = text.iter().take_while(|byte| is_part(byte)).count();
    (len > 0).then_some(len)
}

/// The longest key that matters, with an escape for each character and quotes.
const MAX_KEY: usize = 6 * "metadata".len() + 2;
