//! The size of the terminal.

/// Returns the columns and the rows of a terminal, or 80 and 24 if they are not known.
#[cfg(unix)]
pub(crate) fn size(terminal: impl std::os::fd::AsFd) -> (usize, usize) {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => DEFAULT_SIZE,
    }
}

/// Returns 80 columns and 24 rows.
#[cfg(not(unix))]
pub(crate) fn size<T>(_: T) -> (usize, usize) {
    DEFAULT_SIZE
}

/// The size of the terminals that others imitate.
pub(crate) const DEFAULT_SIZE: (usize, usize) = (80, 24);
