//! The decision whether output is colored.

use std::{
    env,
    ffi::OsStr,
    io::{self, IsTerminal},
};

/// Returns whether to color what is written to standard error.
pub(crate) fn colors_stderr() -> bool {
    wants_color(
        |name| env::var_os(name).unwrap_or_default(),
        io::stderr().is_terminal(),
    )
}

/// Returns whether to color what is written to standard output.
pub(crate) fn colors_stdout() -> bool {
    wants_color(
        |name| env::var_os(name).unwrap_or_default(),
        io::stdout().is_terminal(),
    )
}

/// Returns whether the terminal cannot move its cursor.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// `NO_COLOR` turns colors off. `CLICOLOR_FORCE` turns them on, wherever the output goes. Otherwise
/// a terminal has colors unless `TERM` is `dumb`. An empty variable counts as absent.
fn wants_color<T: AsRef<OsStr>>(variable: impl Fn(&str) -> T, is_terminal: bool) -> bool {
    let is = |name: &str, value: &str| variable(name).as_ref() == value;
    if !is("NO_COLOR", "") {
        false
    } else if !is("CLICOLOR_FORCE", "") && !is("CLICOLOR_FORCE", "0") {
        true
    } else {
        is_terminal && !is("TERM", "dumb")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_decide_before_the_terminal() {
        for (variables, on_terminal, elsewhere) in [
            (&[][..], true, false),
            (&[("TERM", "xterm")], true, false),
            (&[("TERM", "dumb")], false, false),
            (&[("NO_COLOR", "1")], false, false),
            (&[("NO_COLOR", "")], true, false),
            (&[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], true, true),
            (&[("CLICOLOR_FORCE", "0")], true, false),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false, false),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map_or("", |(_, value)| value)
            };
            let wants = |is_terminal| wants_color(variable, is_terminal);
            assert_eq!(
                (wants(true), wants(false)),
                (on_terminal, elsewhere),
                "{variables:?}"
            );
        }
    }
}
