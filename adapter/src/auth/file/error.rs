//! What is wrong with a file: [`AuthFileError`].

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// An error in an [`AuthFile`](super::AuthFile). The text contains the path and the line, but no
/// value of the file, because the value may be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthFileError {
    path: PathBuf,
    line: Option<usize>,
    problem: String,
}

impl AuthFileError {
    pub(super) fn new(path: &Path, line: Option<usize>, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            problem: problem.into(),
        }
    }

    /// Returns the number of the line, if the error belongs to one. The first line is 1.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for AuthFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for AuthFileError {}
