//! Formatting of usage errors as one line.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    color,
    exit::{CliError, Exit},
    output,
};

/// Converts a clap error into an error with a one-line text. Prints the help and the version, which
/// clap also returns as errors.
pub(crate) fn to_cli_error(error: &clap::Error) -> CliError {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // Let clap print the text, because it detects whether the terminal supports colors.
        return match error.print() {
            Ok(()) => CliError::Silent,
            Err(error) => output::output_error(&error),
        };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let help = error.render();
        let help = if color::colors_stdout() {
            help.ansi().to_string()
        } else {
            help.to_string()
        };
        let printed = output::print(help.as_bytes());
        return printed.err().unwrap_or(CliError::Silent);
    }
    CliError::new(Exit::Usage, text(error))
}

fn text(error: &clap::Error) -> String {
    // clap would print the entire value before the reason, and the value may be long. Return only
    // the reason.
    if let (Some(ContextValue::String(arg)), Some(source)) =
        (error.get(ContextKind::InvalidArg), error.source())
    {
        return format!("{arg}: {source}");
    }
    let rendered = error.render().to_string();
    let rendered = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    rendered
        .split("\n\n")
        .take_while(|part| !part.starts_with("Usage:") && !part.starts_with("For more"))
        .map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|part| !part.is_empty())
        .chain(help_hint(error))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Returns the command that prints the help of the command with the error.
fn help_hint(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else {
        return None;
    };
    let usage = usage.to_string();
    let words = usage.trim().strip_prefix("Usage:")?.split_whitespace();
    let is_name = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
    let command: Vec<_> = words.take_while(is_name).collect();
    Some(format!("try `{} --help`", command.join(" ")))
}
