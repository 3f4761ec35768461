use std::error::Error;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::{
    exit::{Exit, Failure},
    output,
};

/// What clap says about a command line, in one line. Help and version, which come as errors too,
/// are printed.
pub(crate) fn failure(error: &clap::Error) -> Failure {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // By clap itself, which knows whether a terminal wants colours.
        return match error.print() {
            Ok(()) => Failure::Quiet,
            Err(error) => output::output_failure(&error),
        };
    }
    Failure::new(Exit::Usage, text(error))
}

fn text(error: &clap::Error) -> String {
    // clap repeats the whole value, which may be long, before it says what is wrong with it.
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
