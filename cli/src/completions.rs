use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{cli::Cli, exit::Failure, output};

/// Print a script that completes commands and options in a shell
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CompletionsArgs {
    /// The shell that is to run the script
    shell: Shell,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire completions bash > ~/.local/share/bash-completion/completions/agentwire
  agentwire completions fish > ~/.config/fish/completions/agentwire.fish";

impl CompletionsArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        // Through a buffer, since the generator panics where it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "agentwire", &mut script);
        output::print(&script)
    }
}
