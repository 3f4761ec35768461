//! The source chain of an error.

use std::{error::Error, fmt, iter};

use agentwire_text::Escaped;

/// Displays an error and its source chain as `error: source: source`, on one line.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Use `{}`, because some errors print their own sources with `{:#}`.
        write!(f, "{}", Escaped(self.0))?;
        for source in sources(self.0) {
            write!(f, ": {}", Escaped(source))?;
        }
        Ok(())
    }
}

/// Iterates over the source chain of an error, without the error itself.
pub fn sources<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
}
