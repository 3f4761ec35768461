//! The logger for the option `--verbose`.

use std::io;

use tracing::level_filters::LevelFilter;

use crate::color;

/// Starts logging to standard error. `verbosity` is the number of `-v` flags, which selects the
/// level.
pub(crate) fn start(verbosity: u8) {
    let level = match verbosity {
        0 => return,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(color::colors_stderr())
        .init();
}
