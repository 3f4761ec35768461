//! The sources of an error, and all of them on one line.

use std::{error::Error, fmt, iter};

/// Displays an error and its sources as `error: source: source`.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With `{}`, because an error may itself print its sources with `{:#}`.
        write!(f, "{}", self.0)?;
        for source in sources(self.0) {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

/// Iterates over the source of an error, its source, and so on.
pub fn sources<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
}
