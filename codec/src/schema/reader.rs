//! The trait that a format implements to decode envelopes.

use std::borrow::Cow;

use crate::{DecodeFault, Value, memory::MemoryExceeded};

/// The error for a payload that is not valid in its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) reason: &'static str,
    pub(crate) offset: usize,
}

/// Why a value cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    Syntax(SyntaxError),
    Memory(MemoryExceeded),
}

impl ReadError {
    pub(crate) fn into_fault(self, format: &'static str) -> DecodeFault {
        match self {
            Self::Syntax(SyntaxError { reason, offset }) => DecodeFault::Syntax {
                format,
                reason,
                offset,
            },
            Self::Memory(MemoryExceeded { limit }) => DecodeFault::Memory { limit },
        }
    }
}

impl From<SyntaxError> for ReadError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

impl From<MemoryExceeded> for ReadError {
    fn from(error: MemoryExceeded) -> Self {
        Self::Memory(error)
    }
}

/// A reader for the values in an encoded payload.
///
/// If the next value is of a different kind, methods that return an `Option` return `None` and
/// consume nothing.
pub(crate) trait FormatReader<'de> {
    /// The name of the format, for error messages.
    const FORMAT: &'static str;
    /// A position in the input, for [`rewind`](Self::rewind).
    type Position: Copy;
    /// The state of the iteration over a map.
    type MapCursor;

    fn position(&self) -> Self::Position;
    /// Returns to a position. What was decoded since still counts as memory.
    fn seek(&mut self, position: Self::Position);
    /// Returns to a position. What was decoded since was dropped and does not count as memory.
    fn rewind(&mut self, position: Self::Position);
    /// Returns the memory that the decoded values use (see [`crate::memory`]).
    fn memory(&self) -> usize;
    /// Returns the number of bytes between a position and the current position.
    fn len_since(&self, position: Self::Position) -> usize;
    /// Returns the kind of the next value, like [`Value::kind`], except that all numbers are
    /// reported as integers.
    fn next_kind(&self) -> &'static str;

    fn enter_map(&mut self) -> Result<Option<Self::MapCursor>, SyntaxError>;
    /// Returns the next key, or consumes the end of the map and returns `None`.
    fn next_key(
        &mut self,
        cursor: &mut Self::MapCursor,
    ) -> Result<Option<Cow<'de, str>>, SyntaxError>;

    fn text(&mut self) -> Result<Option<Cow<'de, str>>, SyntaxError>;
    fn value(&mut self) -> Result<Value, ReadError>;
    /// Skips a value and checks its syntax like [`value`](Self::value).
    fn skip(&mut self) -> Result<(), SyntaxError>;

    /// Checks that the entire input has been consumed.
    fn finish(&mut self) -> Result<(), SyntaxError>;
}
