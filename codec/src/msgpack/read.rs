//! Decodes MessagePack.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{
    MAX_DEPTH, Map, Value,
    memory::{ALLOCATION, Costs, Meter},
    schema::{FormatReader, ReadError, SyntaxError},
};

/// A decoder for MessagePack (PROTOCOL 10.4).
///
/// The decoder is not recursive. Incomplete lists and maps are kept in a vector, so nesting uses
/// the heap instead of the stack.
pub(super) struct MsgpackReader<'de> {
    bytes: &'de [u8],
    offset: usize,
    depth: usize,
    meter: Meter,
}

enum OpenContainer {
    List {
        list: Vec<Value>,
        remaining: usize,
    },
    /// A map and the key of the value that is being decoded.
    Map {
        map: Map,
        remaining: usize,
        key: String,
    },
}

/// Returns the number of elements to reserve before an element is added. A full container at most
/// doubles, starts with [`MAX_PREALLOCATED`] elements, and never reserves more than the `remaining`
/// elements.
fn growth(len: usize, capacity: usize, remaining: usize) -> usize {
    if len < capacity {
        0
    } else {
        remaining.min(len.max(MAX_PREALLOCATED))
    }
}

/// A decoded scalar, or the length of a list or map.
enum Token {
    Scalar(Value),
    List(usize),
    Map(usize),
}

impl<'de> MsgpackReader<'de> {
    pub(super) fn new(bytes: &'de [u8], max_memory: usize) -> Self {
        Self {
            bytes,
            offset: 0,
            depth: 0,
            meter: Meter::new(max_memory, bytes.len()),
        }
    }

    fn error(&self, reason: &'static str) -> SyntaxError {
        SyntaxError {
            reason,
            offset: self.offset,
        }
    }

    fn take(&mut self, len: usize) -> Result<&'de [u8], SyntaxError> {
        match self.bytes[self.offset..].get(..len) {
            Some(taken) => {
                self.offset += len;
                Ok(taken)
            }
            None => Err(self.error("unexpected end")),
        }
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], SyntaxError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn len_8(&mut self) -> Result<usize, SyntaxError> {
        Ok(u8::from_be_bytes(self.take_array()?).into())
    }

    fn len_16(&mut self) -> Result<usize, SyntaxError> {
        Ok(u16::from_be_bytes(self.take_array()?).into())
    }

    fn len_32(&mut self) -> Result<usize, SyntaxError> {
        Ok(u32::from_be_bytes(self.take_array()?) as usize)
    }

    /// Decodes text. If the next value is not text, returns `None` and consumes nothing.
    fn try_str(&mut self) -> Result<Option<&'de str>, SyntaxError> {
        let start = self.offset;
        let [first] = self.take_array()?;
        let len = match first {
            0xa0..=0xbf => (first & 0x1f).into(),
            0xd9 => self.len_8()?,
            0xda => self.len_16()?,
            0xdb => self.len_32()?,
            _ => {
                self.offset = start;
                return Ok(None);
            }
        };
        let start = self.offset;
        match std::str::from_utf8(self.take(len)?) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(SyntaxError {
                reason: "text is not UTF-8",
                offset: start + error.valid_up_to(),
            }),
        }
    }

    /// Decodes any scalar except text, or the length of a list or map.
    fn token(&mut self) -> Result<Token, SyntaxError> {
        let start = self.offset;
        let [first] = self.take_array()?;
        let scalar = |value: Value| Ok(Token::Scalar(value));
        match first {
            0x00..=0x7f => scalar(first.into()),
            0xe0..=0xff => scalar(i8::from_be_bytes([first]).into()),
            0x80..=0x8f => Ok(Token::Map((first & 0x0f).into())),
            0x90..=0x9f => Ok(Token::List((first & 0x0f).into())),
            0xc0 => scalar(Value::Null),
            0xc2 | 0xc3 => scalar((first == 0xc3).into()),
            0xc4 => self.len_8().and_then(|len| self.bytes_value(len)),
            0xc5 => self.len_16().and_then(|len| self.bytes_value(len)),
            0xc6 => self.len_32().and_then(|len| self.bytes_value(len)),
            0xca => scalar(f32::from_be_bytes(self.take_array()?).into()),
            0xcb => scalar(f64::from_be_bytes(self.take_array()?).into()),
            0xcc => scalar(u8::from_be_bytes(self.take_array()?).into()),
            0xcd => scalar(u16::from_be_bytes(self.take_array()?).into()),
            0xce => scalar(u32::from_be_bytes(self.take_array()?).into()),
            0xcf => scalar(u64::from_be_bytes(self.take_array()?).into()),
            0xd0 => scalar(i8::from_be_bytes(self.take_array()?).into()),
            0xd1 => scalar(i16::from_be_bytes(self.take_array()?).into()),
            0xd2 => scalar(i32::from_be_bytes(self.take_array()?).into()),
            0xd3 => scalar(i64::from_be_bytes(self.take_array()?).into()),
            0xdc => self.len_16().map(Token::List),
            0xdd => self.len_32().map(Token::List),
            0xde => self.len_16().map(Token::Map),
            0xdf => self.len_32().map(Token::Map),
            0xc7..=0xc9 | 0xd4..=0xd8 => Err(SyntaxError {
                reason: "extension types are not supported",
                offset: start,
            }),
            // `try_str` has already handled text.
            0xa0..=0xbf | 0xc1 | 0xd9..=0xdb => Err(SyntaxError {
                reason: "unknown type",
                offset: start,
            }),
        }
    }

    fn bytes_value(&mut self, len: usize) -> Result<Token, SyntaxError> {
        Ok(Token::Scalar(
            Bytes::copy_from_slice(self.take(len)?).into(),
        ))
    }

    fn key(&mut self) -> Result<&'de str, SyntaxError> {
        let start = self.offset;
        match self.try_str()? {
            Some(key) => Ok(key),
            None => Err(SyntaxError {
                reason: "a map key must be text",
                offset: start,
            }),
        }
    }

    /// Enters a list or map of the given length. Each element or entry has at least one byte, so a
    /// length beyond the rest of the payload is invalid.
    fn open(&mut self, len: usize) -> Result<(), SyntaxError> {
        if len > self.bytes.len() - self.offset {
            return Err(self.error("unexpected end"));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.error("nested deeper than 256 levels"));
        }
        self.depth += 1;
        Ok(())
    }
}

impl<'de> FormatReader<'de> for MsgpackReader<'de> {
    const FORMAT: &'static str = "MessagePack";
    type Position = (usize, usize, Meter);
    /// The number of remaining entries.
    type MapCursor = usize;

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
        match self.bytes.get(self.offset) {
            Some(0x80..=0x8f | 0xde | 0xdf) => "map",
            Some(0x90..=0x9f | 0xdc | 0xdd) => "list",
            Some(0xa0..=0xbf | 0xd9..=0xdb) => "text",
            Some(0xc4..=0xc6) => "bytes",
            Some(0xc2 | 0xc3) => "bool",
            Some(0xc0) => "null",
            _ => "integer",
        }
    }

    fn enter_map(&mut self) -> Result<Option<usize>, SyntaxError> {
        let start = self.offset;
        let [first] = self.take_array()?;
        let len = match first {
            0x80..=0x8f => (first & 0x0f).into(),
            0xde => self.len_16()?,
            0xdf => self.len_32()?,
            _ => {
                self.offset = start;
                return Ok(None);
            }
        };
        self.open(len)?;
        Ok(Some(len))
    }

    fn next_key(&mut self, remaining: &mut usize) -> Result<Option<Cow<'de, str>>, SyntaxError> {
        match remaining.checked_sub(1) {
            Some(rest) => {
                *remaining = rest;
                self.key().map(|key| Some(Cow::Borrowed(key)))
            }
            None => {
                self.depth -= 1;
                Ok(None)
            }
        }
    }

    fn text(&mut self) -> Result<Option<Cow<'de, str>>, SyntaxError> {
        Ok(self.try_str()?.map(Cow::Borrowed))
    }

    fn value(&mut self) -> Result<Value, ReadError> {
        let mut stack: Vec<OpenContainer> = Vec::new();
        'value: loop {
            let token = match self.try_str()? {
                Some(text) => {
                    self.meter.charge(COSTS.text)?;
                    Token::Scalar(text.into())
                }
                None => self.token()?,
            };
            let mut value = match token {
                Token::Scalar(value) => {
                    if let Value::Bytes(_) = value {
                        self.meter.charge(COSTS.text)?;
                    }
                    value
                }
                Token::List(0) => {
                    self.open(0)?;
                    self.depth -= 1;
                    Value::List(Vec::new())
                }
                Token::List(remaining) => {
                    self.open(remaining)?;
                    self.meter.charge(COSTS.list)?;
                    stack.push(OpenContainer::List {
                        list: Vec::with_capacity(remaining.min(MAX_PREALLOCATED)),
                        remaining,
                    });
                    continue 'value;
                }
                Token::Map(0) => {
                    self.open(0)?;
                    self.depth -= 1;
                    Value::Map(Map::new())
                }
                Token::Map(remaining) => {
                    self.open(remaining)?;
                    self.meter.charge(COSTS.map)?;
                    let key = self.key()?.to_owned();
                    stack.push(OpenContainer::Map {
                        map: Map::with_capacity(remaining.min(MAX_PREALLOCATED)),
                        remaining,
                        key,
                    });
                    continue 'value;
                }
            };
            // The value is complete. Add the value to its container, which may also be complete
            // now.
            loop {
                match stack.last_mut() {
                    None => return Ok(value),
                    Some(OpenContainer::List { list, remaining }) => {
                        self.meter.charge(COSTS.element)?;
                        list.reserve_exact(growth(list.len(), list.capacity(), *remaining));
                        list.push(value);
                        *remaining -= 1;
                        if *remaining > 0 {
                            continue 'value;
                        }
                    }
                    Some(OpenContainer::Map {
                        map,
                        remaining,
                        key,
                    }) => {
                        self.meter.charge(COSTS.entry)?;
                        map.reserve_exact(growth(map.len(), map.capacity(), *remaining));
                        map.insert(std::mem::take(key), value);
                        *remaining -= 1;
                        if *remaining > 0 {
                            *key = self.key()?.to_owned();
                            continue 'value;
                        }
                    }
                }
                self.depth -= 1;
                value = match stack.pop() {
                    Some(OpenContainer::List { list, .. }) => Value::List(list),
                    Some(OpenContainer::Map { map, .. }) => Value::Map(map),
                    // Unreachable, because `last_mut` returned an element above.
                    None => Value::Null,
                };
            }
        }
    }

    fn skip(&mut self) -> Result<(), SyntaxError> {
        /// The number of remaining elements or entries of a list or map.
        #[derive(Clone, Copy)]
        struct Remaining {
            count: usize,
            is_map: bool,
        }
        let nothing = Remaining {
            count: 0,
            is_map: false,
        };
        let start = self.depth;
        let mut open = [nothing; MAX_DEPTH];
        loop {
            let opened = match self.try_str()? {
                Some(_) => None,
                None => match self.token()? {
                    Token::Scalar(_) => None,
                    Token::List(count) => Some((count, false)),
                    Token::Map(count) => Some((count, true)),
                },
            };
            if let Some((count, is_map)) = opened {
                self.open(count)?;
                open[self.depth - 1] = Remaining { count, is_map };
            }
            // Continue with the innermost list or map that is not complete.
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

    fn finish(&mut self) -> Result<(), SyntaxError> {
        match self.bytes.len() - self.offset {
            0 => Ok(()),
            _ => Err(self.error("extra data after the value")),
        }
    }
}

/// The number of elements or entries to reserve when a container is opened. At most [`MAX_DEPTH`]
/// containers are open at once, so the amount of unused reserved memory is bounded.
const MAX_PREALLOCATED: usize = 8;

/// The length of a list or map is announced, so no capacity is spare once it is complete.
pub(crate) const COSTS: Costs = Costs {
    list: ALLOCATION,
    element: size_of::<Value>(),
    map: ALLOCATION,
    entry: size_of::<(String, Value)>() + ALLOCATION + INDEX_SLOT,
    text: ALLOCATION,
};

/// The size of a slot in the hash table of a large map, with the spare slots.
const INDEX_SLOT: usize = 40;
