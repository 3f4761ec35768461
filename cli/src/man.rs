use std::io;

use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;

use crate::{
    cli::Cli,
    exit::{Exit, Failure},
    output,
};

/// Prints one page that covers every command.
///
/// By itself the generator makes a page for each, which refer to each other by names under which
/// nobody would have installed them. Its heading for the text after the help is "extra".
pub(crate) fn run() -> Result<(), Failure> {
    let page = page().map_err(|error| {
        Failure::from_error(Exit::Unreachable, &error).while_doing("cannot write the manual page")
    })?;
    output::print(page.as_bytes())
}

fn page() -> io::Result<String> {
    let mut cli = Cli::command();
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

/// One command as a section of its own, with what would be sections as subsections.
fn subcommand(command: &Command) -> io::Result<String> {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let is_told_above = |arg: &Arg| matches!(arg.get_id().as_str(), "help" | "verbose");
    let man = Man::new(command.clone().mut_args(|arg| {
        let hidden = is_told_above(&arg);
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
