use std::borrow::Cow;

use crate::Value;

/// A payload that is not text of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) reason: &'static str,
    pub(crate) offset: usize,
}

/// Where a format reads.
///
/// Each `Option` is `None` if what comes next is of another kind; nothing is consumed then.
pub(crate) trait FormatReader<'de> {
    /// The format's name, for errors.
    const FORMAT: &'static str;
    /// A place to come back to.
    type Position: Copy;
    /// How far a map has been read.
    type MapCursor;

    fn position(&self) -> Self::Position;
    fn rewind(&mut self, position: Self::Position);

    fn enter_map(&mut self) -> Result<Option<Self::MapCursor>, SyntaxError>;
    /// The next key; `None` at the end of the map, which is consumed.
    fn next_key(
        &mut self,
        cursor: &mut Self::MapCursor,
    ) -> Result<Option<Cow<'de, str>>, SyntaxError>;

    fn text(&mut self) -> Result<Option<Cow<'de, str>>, SyntaxError>;
    fn value(&mut self) -> Result<Value, SyntaxError>;
    /// Steps over a value, and checks it as [`value`](Self::value) does.
    fn skip(&mut self) -> Result<(), SyntaxError>;

    /// Checks that nothing is left.
    fn finish(&mut self) -> Result<(), SyntaxError>;
}
