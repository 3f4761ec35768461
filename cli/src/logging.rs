//! The logger behind `--verbose`.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;

/// Logs to standard error at the level that `verbosity`, the number of `-v` flags, asks for.
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
        .with_ansi(io::stderr().is_terminal())
        .init();
}
