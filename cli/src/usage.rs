//! Usage errors in one line.

use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    exit::{CliError, Exit},
    output,
};

/// Converts a clap error to one line. Prints the help and the version, which clap also returns as
/// errors.
pub(crate) fn to_cli_error(error: &clap::Error) -> CliError {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // clap prints them itself, because it knows whether the terminal supports colors.
        return match error.print() {
            Ok(()) => CliError::Silent,
            Err(error) => output::output_error(&error),
        };
    }
    CliError::new(Exit::Usage, text(error))
}

fn text(error: &clap::Error) -> String {
    // clap prints the whole value, which may be long, before the reason. Print only the reason.
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
        .collect::<Vec<_>>()
        .join("; ")
}
