//! The logger for the option `--verbose`.

use agentwire::transport::internal::Escaped;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{field::MakeExt, fmt::format::debug_fn};

use crate::{color, stderr::LogWriter};

/// Starts logging to standard error, which never blocks the program. `verbosity` is the number of
/// `-v` flags, which selects the level.
pub(crate) fn start(verbosity: u8) {
    let level = match verbosity {
        0 => return,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    // Fields hold texts of peers. The subscriber does not escape fields that are recorded by their
    // `Display` output.
    let fields = debug_fn(|writer, field, value| {
        let value = Escaped(format_args!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{name}={value}"),
        }
    });
    tracing_subscriber::fmt()
        .with_max_level(level)
        .fmt_fields(fields.delimited(" "))
        .with_writer(|| LogWriter)
        .with_ansi(color::colors_stderr())
        .init();
}
