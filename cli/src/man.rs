//! The command `man`, which prints one manual page for all commands.

use std::io;

use clap::{Arg, Command};
use clap_mangen::Man;

use crate::{
    exit::{CliError, Exit},
    output,
};

/// Prints one manual page that covers every command of `cli`.
///
/// By default, clap_mangen writes one page per command, and the pages refer to each other by file
/// names that no package installs. clap_mangen also uses the title "EXTRA" for the section with the
/// examples.
pub(crate) fn run(cli: Command) -> Result<(), CliError> {
    let page = page(cli).map_err(|error| {
        CliError::from_error(Exit::Unreachable, &error).context("cannot write the manual page")
    })?;
    output::print(page.as_bytes())
}

fn page(mut cli: Command) -> io::Result<String> {
    cli.build();
    let man = Man::new(cli.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    let mut page = String::from_utf8_lossy(&page).into_owned();
    for command in subcommands(&cli) {
        page.push_str(&subcommand(command)?);
        for nested in subcommands(command) {
            page.push_str(&subcommand(nested)?);
        }
    }
    let mut end = Vec::new();
    man.render_extra_section(&mut end)?;
    man.render_version_section(&mut end)?;
    page.push_str(&String::from_utf8_lossy(&end));
    Ok(page
        .replace("EXTRA\nExamples:\n", "EXAMPLES\n")
        .replace("\nExit codes:\n", "\n.SH \"EXIT STATUS\"\n"))
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    let all = command.get_subcommands();
    all.filter(|command| command.get_name() != "help")
}

/// Renders the manual page of one command as a section. The sections of the page become
/// subsections.
fn subcommand(command: &Command) -> io::Result<String> {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let is_global = |arg: &Arg| arg.get_id() == "help" || arg.is_global_set();
    let man = Man::new(command.clone().mut_args(|arg| {
        let hidden = is_global(&arg);
        arg.hide(hidden)
    }));
    let mut text = Vec::new();
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    man.render_extra_section(&mut text)?;
    let text = String::from_utf8_lossy(&text).replace("\n.SH ", "\n.SS ");
    Ok(format!(".SH \"{}\"\n{text}", name.to_uppercase()))
}
