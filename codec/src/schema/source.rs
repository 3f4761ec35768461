use std::borrow::Cow;

use crate::Value;

/// A payload that is not text of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Syntax {
    pub(crate) reason: &'static str,
    pub(crate) offset: usize,
}

/// Where a format reads.
///
/// Each `Option` is `None` if what comes next is of another kind; nothing is consumed then.
pub(crate) trait Source<'de> {
    /// The format's name, for errors.
    const FORMAT: &'static str;
    /// A place to come back to.
    type Mark: Copy;
    /// How far a map has been read.
    type Cursor;

    fn mark(&self) -> Self::Mark;
    fn rewind(&mut self, mark: Self::Mark);

    fn enter_map(&mut self) -> Result<Option<Self::Cursor>, Syntax>;
    /// The next key; `None` at the end of the map, which is consumed.
    fn next_key(&mut self, cursor: &mut Self::Cursor) -> Result<Option<Cow<'de, str>>, Syntax>;

    fn text(&mut self) -> Result<Option<Cow<'de, str>>, Syntax>;
    fn value(&mut self) -> Result<Value, Syntax>;
    /// Steps over a value, and checks it as [`value`](Self::value) does.
    fn skip(&mut self) -> Result<(), Syntax>;

    /// Checks that nothing is left.
    fn finish(&mut self) -> Result<(), Syntax>;
}
