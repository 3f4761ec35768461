//! The log, which is written to standard error: the options and the start.

mod escape;
mod layer;
mod line;
pub(crate) mod requests;
pub(crate) mod select;

use std::{
    env,
    io::{self, IsTerminal},
    sync::OnceLock,
    time::SystemTime,
};

use agentwire::{Map, transport::internal::Escaped};
use clap::{ArgAction, Args, ValueEnum};
use tracing::{level_filters::LevelFilter, subscriber::set_global_default};
use tracing_subscriber::layer::SubscriberExt;

use self::layer::LogLayer;
use crate::{
    exit::{CliError, Exit},
    frame_limit::parse_memory_budget,
    otlp::OtlpArgs,
    output, stderr,
};

/// The options for the log.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Log to standard error: -v one line for each request, -vv connections and more, -vvv frames
    /// and messages as they pass [env: AGENTWIRE_LOG=info|debug|trace]
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = HEADING)]
    verbose: u8,

    /// The format of the log: lines of text, or one JSON object per line, also for errors
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = HEADING
    )]
    log_format: LogFormat,

    /// How much of each frame -vvv shows
    #[arg(long, global = true, value_name = "SIZE", default_value = "1KiB", help_heading = HEADING,
          value_parser = parse_memory_budget)]
    log_frame_limit: usize,
}

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines of text
    Text,
    /// One JSON object per line
    Json,
}

impl LogArgs {
    /// Starts logging to standard error, which never blocks the program.
    pub(crate) fn start(&self, otlp: &OtlpArgs) -> Result<(), CliError> {
        let is_json = self.log_format == LogFormat::Json;
        // This is the only call.
        let _ = IS_JSON.set(is_json);
        let variable = env::var_os(VARIABLE).unwrap_or_default();
        let verbosity = self.verbose.max(level_of(&variable.to_string_lossy())?);
        let lines = (verbosity > 0).then(|| LogLayer::new(verbosity, is_json));
        if verbosity > 2 {
            agentwire::internal::log_frames(self.log_frame_limit);
        }
        let registry = tracing_subscriber::registry();
        // This is the only call of `set_global_default`.
        let _ = match (otlp.layer()?, lines) {
            (None, None) => return Ok(()),
            (None, Some(lines)) => set_global_default(registry.with(lines)),
            (Some(spans), None) => set_global_default(registry.with(spans)),
            // Each layer has its own filter, so that exported spans do not depend on the verbosity.
            (Some(spans), Some(lines)) => {
                set_global_default(registry.with(spans).with(lines.filtered()))
            }
        };
        Ok(())
    }
}

/// Returns the number of `-v` flags that a value of the variable stands for.
fn level_of(text: &str) -> Result<u8, CliError> {
    if text.is_empty() {
        return Ok(0);
    }
    match text.parse::<LevelFilter>() {
        Ok(LevelFilter::INFO) => Ok(1),
        Ok(LevelFilter::DEBUG) => Ok(2),
        Ok(LevelFilter::TRACE) => Ok(3),
        Ok(_) => Ok(0),
        Err(_) => {
            let problem = format!("{VARIABLE}: invalid level {text:?}; use info, debug or trace");
            Err(CliError::new(Exit::Usage, problem))
        }
    }
}

/// Returns a line with an error or a warning of the program, in the format of the log.
fn message_line(level: &str, text: &str) -> String {
    if IS_JSON.get() != Some(&true) {
        return format!("agentwire: {}\n", Escaped(text));
    }
    let map = Map::from([
        ("timestamp", timestamp()),
        ("level", level.to_owned()),
        ("message", text.to_owned()),
    ]);
    output::json(map) + "\n"
}

/// Writes an error or a warning of the program to standard error.
pub(crate) fn write_message(level: &str, text: &str) {
    stderr::write(message_line(level, text).into_bytes());
}

/// Returns the current time for a log line.
fn timestamp() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// Returns the current time for a line of text. People at a terminal know the date.
fn clock() -> String {
    let time = timestamp();
    match time.get(CLOCK) {
        Some(clock) if io::stderr().is_terminal() => clock.to_owned(),
        _ => time,
    }
}

/// The time of day in a timestamp.
pub(crate) const CLOCK: std::ops::Range<usize> = 11..23;

static IS_JSON: OnceLock<bool> = OnceLock::new();

/// The heading in the help.
pub(crate) const HEADING: &str = "Logging";

const VARIABLE: &str = "AGENTWIRE_LOG";
