//! The options for the form in which replies are printed.

use agentwire::{Message, Value};
use clap::Args;

use crate::{exit::CliError, output};

/// The form in which replies are printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ReplyArgs {
    /// Print the content alone: text without quotes and followed by a line break, bytes as they
    /// are, and other values as JSON
    #[arg(long)]
    raw: bool,

    /// Print each reply as one line of JSON, on a terminal, too
    #[arg(long, conflicts_with = "raw")]
    json: bool,
}

impl ReplyArgs {
    pub(crate) fn print(self, message: Message) -> Result<(), CliError> {
        if self.raw {
            output::print_raw(message.content)
        } else {
            self.print_value(output::message_value(message))
        }
    }

    /// Prints a value that is not part of a message.
    pub(crate) fn print_content(self, content: Value) -> Result<(), CliError> {
        if self.raw {
            output::print_raw(content)
        } else {
            self.print_value(content)
        }
    }

    /// Returns whether the output is read on a terminal and not as JSON.
    pub(crate) fn is_for_people(self) -> bool {
        !self.json && output::is_terminal()
    }

    fn print_value(self, value: Value) -> Result<(), CliError> {
        if self.json {
            output::print_json(value)
        } else {
            output::print_value(value)
        }
    }
}
