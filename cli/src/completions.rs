//! The command `completions`, which prints scripts for shell completion.

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{exit::CliError, output};

/// Print a shell completion script
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell to print the script for
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self, mut cli: Command) -> Result<(), CliError> {
        // clap_complete panics if a write fails, so write the script to memory first.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut cli, "agentwire", &mut script);
        output::print(&script)
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire completions bash > ~/.local/share/bash-completion/completions/agentwire
  agentwire completions fish > ~/.config/fish/completions/agentwire.fish";
