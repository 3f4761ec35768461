//! Functions that write to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use agentwire::{Message, Value, map, transport::internal::Escaped};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    color,
    exit::{CliError, Exit},
    logging, pretty,
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

/// Writes one value to standard output, as one line of JSON that every parser accepts.
///
/// JSON has no bytes and no NaN. They are written as the JSON form of Protocol Buffers writes them:
/// bytes as text in base64, and the three special numbers as the texts `NaN`, `Infinity` and
/// `-Infinity`.
pub(crate) fn print_json(value: impl Into<Value>) -> Result<(), CliError> {
    print_line(json(value))
}

/// Returns whether people read standard output.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes one value to standard output: as indented JSON on a terminal, and as one line of JSON
/// elsewhere.
pub(crate) fn print_value(value: impl Into<Value>) -> Result<(), CliError> {
    if is_terminal() {
        let value = representable(value.into());
        print_line(pretty::pretty(&value, color::colors_stdout()))
    } else {
        print_json(value)
    }
}

/// Writes the content of a message alone: text with a line break, bytes unchanged, and any other
/// value as JSON.
pub(crate) fn print_raw(content: Value) -> Result<(), CliError> {
    match content {
        Value::Text(text) => print_line(text),
        Value::Bytes(bytes) => print(&bytes),
        content => print_json(content),
    }
}

/// Returns a value as JSON, as [`print_json`] prints it.
pub(crate) fn json(value: impl Into<Value>) -> String {
    representable(value.into()).to_string()
}

/// Replaces the values that JSON does not have.
fn representable(value: Value) -> Value {
    match value {
        Value::Float(float) if float.is_nan() => "NaN".into(),
        Value::Float(f64::INFINITY) => "Infinity".into(),
        Value::Float(f64::NEG_INFINITY) => "-Infinity".into(),
        Value::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Value::List(list) => list.into_iter().map(representable).collect(),
        Value::Map(map) => {
            let entries = map.into_iter();
            let entries = entries.map(|(key, value)| (key, representable(value)));
            Value::Map(entries.collect())
        }
        value => value,
    }
}

/// Returns a message as a value with the keys that it has on the wire.
pub(crate) fn message_value(message: Message) -> Value {
    Value::from(map! {
        "role": (message.role.as_str()),
        "content": (message.content),
        "metadata": (message.metadata),
        "timestamp": (message.timestamp.to_string()),
    })
}

/// Returns whether the reader of standard output has closed its end, as `head` does. Only a write
/// or this check can tell.
pub(crate) fn has_lost_reader() -> bool {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stdout = io::stdout();
        // The flags for errors need not be asked for.
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let lost = PollFlags::ERR | PollFlags::HUP;
        poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(lost)
    }
    #[cfg(not(unix))]
    false
}

/// Writes one line about a server to standard output.
///
/// The line is escaped, because an endpoint may contain line breaks and commands for a terminal. A
/// server continues without the reader of its announcements, so a failure is only logged.
pub(crate) fn announce(line: impl std::fmt::Display) {
    let mut stdout = io::stdout().lock();
    let line = format!("{}\n", Escaped(line));
    let written = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
    if let Err(error) = written {
        tracing::info!(%error, "standard output cannot be written");
    }
}

/// Prints a warning to standard error.
pub(crate) fn warn(text: impl std::fmt::Display) {
    logging::write_message("warn", &text.to_string());
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

#[cfg(test)]
mod tests {
    use agentwire::value;

    use super::*;

    #[test]
    fn values_that_json_does_not_have_are_written_as_text() {
        let value = value!({
            "bytes": [(bytes::Bytes::from_static(b"\x89PNG"))],
            "numbers": [(f64::NAN), (f64::INFINITY), (f64::NEG_INFINITY), 1.5, 1180591620717411303424_u128],
            "text": "NaN",
        });
        assert_eq!(
            json(value),
            r#"{"bytes": ["iVBORw=="], "numbers": ["NaN", "Infinity", "-Infinity", 1.5, 1180591620717411303424], "text": "NaN"}"#
        );
    }

    #[test]
    fn a_message_is_printed_with_its_keys_in_order() {
        let message = Message::user("é").with_metadata("z", 1);
        assert_eq!(json(message_value(message.clone())), message.to_string());
    }
}
