use std::io::{self, Write};

use crate::{
    exit::{Exit, Failure},
    one_line::one_line,
};

/// Writes to standard output at once.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|error| output_failure(&error))
}

/// Writes one line to standard output at once.
pub(crate) fn print_line(line: impl std::fmt::Display) -> Result<(), Failure> {
    print(format!("{line}\n").as_bytes())
}

/// Tells people of something that does not end the program.
pub(crate) fn note(text: impl std::fmt::Display) {
    // Where standard error is gone, nobody wants to know.
    let _ = writeln!(io::stderr(), "agentwire: {}", one_line(&text.to_string()));
}

pub(crate) fn output_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::Quiet
    } else {
        Failure::from_error(Exit::Unreachable, error).while_doing("cannot write to standard output")
    }
}
