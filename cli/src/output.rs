//! Functions that write to standard output and standard error.

use std::io::{self, Write};

use crate::{
    exit::{CliError, Exit},
    one_line::one_line,
};

/// Writes bytes to standard output and flushes it.
pub(crate) fn print(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| output_error(&error))
}

/// Writes one line to standard output and flushes it.
pub(crate) fn print_line(line: impl std::fmt::Display) -> Result<(), CliError> {
    print(format!("{line}\n").as_bytes())
}

/// Prints a warning to standard error.
pub(crate) fn warn(text: impl std::fmt::Display) {
    // Ignore an error: if standard error is closed, it cannot be reported.
    let _ = writeln!(io::stderr(), "agentwire: {}", one_line(&text.to_string()));
}

/// Converts the error of a write to standard output. A closed pipe, as in `| head`, is not
/// reported.
pub(crate) fn output_error(error: &io::Error) -> CliError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        CliError::Silent
    } else {
        CliError::from_error(Exit::Unreachable, error).context("cannot write to standard output")
    }
}
