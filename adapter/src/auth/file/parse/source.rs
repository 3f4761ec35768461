//! A file that is being read, which knows the lines of its problems.

use std::path::Path;

use toml::Spanned;

use crate::auth::file::AuthFileError;

/// A file that is being read.
pub(super) struct Source<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn error<T>(&self, at: &Spanned<T>, problem: impl Into<String>) -> AuthFileError {
        AuthFileError::new(self.path, Some(self.line(at.span().start)), problem)
    }
}
