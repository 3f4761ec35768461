use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    MAX_DEPTH, Map, Value,
    schema::{Source, Syntax},
};

/// Reads MessagePack (PROTOCOL 10.4).
///
/// Nesting costs heap, not stack: open lists and maps wait in a vector.
pub(super) struct Reader<'de> {
    bytes: &'de [u8],
    at: usize,
    depth: usize,
}

enum Open {
    List {
        list: Vec<Value>,
        missing: usize,
    },
    /// `key` is that of the value which is being read.
    Map {
        map: Map,
        missing: usize,
        key: String,
    },
}

/// How many entries or elements are believed before they have come. What is open at once is bounded by
/// [`MAX_DEPTH`], and so is what is reserved in vain.
const TRUSTED_LEN: usize = 8;

/// How much to reserve for one more of `missing` elements: as much as there is already, but not more than
/// has been announced.
fn room(len: usize, capacity: usize, missing: usize) -> usize {
    match len < capacity {
        true => 0,
        false => missing.min(len.max(TRUSTED_LEN)),
    }
}

/// What a first byte announces.
enum Head {
    Scalar(Value),
    List(usize),
    Map(usize),
}

impl<'de> Reader<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    fn error(&self, reason: &'static str) -> Syntax {
        Syntax {
            reason,
            offset: self.at,
        }
    }

    fn take(&mut self, len: usize) -> Result<&'de [u8], Syntax> {
        match self.bytes[self.at..].get(..len) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.error("unexpected end")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Syntax> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn len_8(&mut self) -> Result<usize, Syntax> {
        Ok(u8::from_be_bytes(self.array()?).into())
    }

    fn len_16(&mut self) -> Result<usize, Syntax> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn len_32(&mut self) -> Result<usize, Syntax> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    /// Text, if that is what comes next.
    fn str(&mut self) -> Result<Option<&'de str>, Syntax> {
        let start = self.at;
        let [first] = self.array()?;
        let len = match first {
            0xa0..=0xbf => (first & 0x1f).into(),
            0xd9 => self.len_8()?,
            0xda => self.len_16()?,
            0xdb => self.len_32()?,
            _ => {
                self.at = start;
                return Ok(None);
            }
        };
        let start = self.at;
        match std::str::from_utf8(self.take(len)?) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(Syntax {
                reason: "text is not UTF-8",
                offset: start + error.valid_up_to(),
            }),
        }
    }

    /// Anything but text.
    fn head(&mut self) -> Result<Head, Syntax> {
        let start = self.at;
        let [first] = self.array()?;
        let scalar = |value: Value| Ok(Head::Scalar(value));
        match first {
            0x00..=0x7f => scalar(first.into()),
            0xe0..=0xff => scalar(i8::from_be_bytes([first]).into()),
            0x80..=0x8f => Ok(Head::Map((first & 0x0f).into())),
            0x90..=0x9f => Ok(Head::List((first & 0x0f).into())),
            0xc0 => scalar(Value::Null),
            0xc2 | 0xc3 => scalar((first == 0xc3).into()),
            0xc4 => self.len_8().and_then(|len| self.bin(len)),
            0xc5 => self.len_16().and_then(|len| self.bin(len)),
            0xc6 => self.len_32().and_then(|len| self.bin(len)),
            0xca => scalar(f32::from_be_bytes(self.array()?).into()),
            0xcb => scalar(f64::from_be_bytes(self.array()?).into()),
            0xcc => scalar(u8::from_be_bytes(self.array()?).into()),
            0xcd => scalar(u16::from_be_bytes(self.array()?).into()),
            0xce => scalar(u32::from_be_bytes(self.array()?).into()),
            0xcf => scalar(u64::from_be_bytes(self.array()?).into()),
            0xd0 => scalar(i8::from_be_bytes(self.array()?).into()),
            0xd1 => scalar(i16::from_be_bytes(self.array()?).into()),
            0xd2 => scalar(i32::from_be_bytes(self.array()?).into()),
            0xd3 => scalar(i64::from_be_bytes(self.array()?).into()),
            0xdc => self.len_16().map(Head::List),
            0xdd => self.len_32().map(Head::List),
            0xde => self.len_16().map(Head::Map),
            0xdf => self.len_32().map(Head::Map),
            0xc7..=0xc9 | 0xd4..=0xd8 => Err(Syntax {
                reason: "extension types are not supported",
                offset: start,
            }),
            // Text is none of them: it has been looked for before.
            0xa0..=0xbf | 0xc1 | 0xd9..=0xdb => Err(Syntax {
                reason: "unknown type",
                offset: start,
            }),
        }
    }

    fn bin(&mut self, len: usize) -> Result<Head, Syntax> {
        Ok(Head::Scalar(Bytes::copy_from_slice(self.take(len)?).into()))
    }

    fn key(&mut self) -> Result<&'de str, Syntax> {
        let start = self.at;
        match self.str()? {
            Some(key) => Ok(key),
            None => Err(Syntax {
                reason: "a map key must be text",
                offset: start,
            }),
        }
    }

    /// Every entry and element takes a byte at least, so a length beyond the rest is a lie.
    fn open(&mut self, len: usize) -> Result<(), Syntax> {
        if len > self.bytes.len() - self.at {
            return Err(self.error("unexpected end"));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested deeper than 256 levels"));
        }
        self.depth += 1;
        Ok(())
    }
}

impl<'de> Source<'de> for Reader<'de> {
    const FORMAT: &'static str = "MessagePack";
    type Mark = (usize, usize);
    /// Entries that have not been read.
    type Cursor = usize;

    fn mark(&self) -> (usize, usize) {
        (self.at, self.depth)
    }

    fn rewind(&mut self, (at, depth): (usize, usize)) {
        self.at = at;
        self.depth = depth;
    }

    fn enter_map(&mut self) -> Result<Option<usize>, Syntax> {
        let start = self.at;
        let [first] = self.array()?;
        let len = match first {
            0x80..=0x8f => (first & 0x0f).into(),
            0xde => self.len_16()?,
            0xdf => self.len_32()?,
            _ => {
                self.at = start;
                return Ok(None);
            }
        };
        self.open(len)?;
        Ok(Some(len))
    }

    fn next_key(&mut self, missing: &mut usize) -> Result<Option<Cow<'de, str>>, Syntax> {
        match missing.checked_sub(1) {
            Some(rest) => {
                *missing = rest;
                self.key().map(|key| Some(Cow::Borrowed(key)))
            }
            None => {
                self.depth -= 1;
                Ok(None)
            }
        }
    }

    fn text(&mut self) -> Result<Option<Cow<'de, str>>, Syntax> {
        Ok(self.str()?.map(Cow::Borrowed))
    }

    fn value(&mut self) -> Result<Value, Syntax> {
        let mut open: Vec<Open> = Vec::new();
        'value: loop {
            let head = match self.str()? {
                Some(text) => Head::Scalar(text.into()),
                None => self.head()?,
            };
            let mut value = match head {
                Head::Scalar(value) => value,
                Head::List(0) => {
                    self.open(0)?;
                    self.depth -= 1;
                    Value::List(Vec::new())
                }
                Head::List(missing) => {
                    self.open(missing)?;
                    open.push(Open::List {
                        list: Vec::with_capacity(missing.min(TRUSTED_LEN)),
                        missing,
                    });
                    continue 'value;
                }
                Head::Map(0) => {
                    self.open(0)?;
                    self.depth -= 1;
                    Value::Map(Map::new())
                }
                Head::Map(missing) => {
                    self.open(missing)?;
                    let key = self.key()?.to_owned();
                    open.push(Open::Map {
                        map: Map::with_capacity(missing.min(TRUSTED_LEN)),
                        missing,
                        key,
                    });
                    continue 'value;
                }
            };
            // The value is complete: hand it to what holds it, which may thereby be complete itself.
            loop {
                match open.last_mut() {
                    None => return Ok(value),
                    Some(Open::List { list, missing }) => {
                        list.reserve_exact(room(list.len(), list.capacity(), *missing));
                        list.push(value);
                        *missing -= 1;
                        if *missing > 0 {
                            continue 'value;
                        }
                    }
                    Some(Open::Map { map, missing, key }) => {
                        map.reserve_exact(room(map.len(), map.capacity(), *missing));
                        map.insert(std::mem::take(key), value);
                        *missing -= 1;
                        if *missing > 0 {
                            *key = self.key()?.to_owned();
                            continue 'value;
                        }
                    }
                }
                self.depth -= 1;
                value = match open.pop() {
                    Some(Open::List { list, .. }) => Value::List(list),
                    Some(Open::Map { map, .. }) => Value::Map(map),
                    // It was there a moment ago.
                    None => Value::Null,
                };
            }
        }
    }

    fn skip(&mut self) -> Result<(), Syntax> {
        /// What is missing of a list or map.
        #[derive(Clone, Copy)]
        struct Missing {
            count: usize,
            is_map: bool,
        }
        let nothing = Missing {
            count: 0,
            is_map: false,
        };
        let start = self.depth;
        let mut open = [nothing; MAX_DEPTH];
        loop {
            let opened = match self.str()? {
                Some(_) => None,
                None => match self.head()? {
                    Head::Scalar(_) => None,
                    Head::List(count) => Some((count, false)),
                    Head::Map(count) => Some((count, true)),
                },
            };
            if let Some((count, is_map)) = opened {
                self.open(count)?;
                open[self.depth - 1] = Missing { count, is_map };
            }
            // On to the next element of the innermost list or map that is not complete.
            loop {
                if self.depth == start {
                    return Ok(());
                }
                let innermost = &mut open[self.depth - 1];
                if let Some(count) = innermost.count.checked_sub(1) {
                    innermost.count = count;
                    if innermost.is_map {
                        self.key()?;
                    }
                    break;
                }
                self.depth -= 1;
            }
        }
    }

    fn finish(&mut self) -> Result<(), Syntax> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            _ => Err(self.error("extra data after the value")),
        }
    }
}
