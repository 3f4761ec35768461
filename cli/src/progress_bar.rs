//! A progress bar on standard error, for `agentwire stream`.

use std::io::{self, IsTerminal};

use agentwire::{
    progress::{Progress, ProgressState},
    transport::internal::Untrusted,
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{stderr, terminal};

/// A line on the terminal that shows the latest progress.
#[derive(Debug)]
pub(crate) struct ProgressBar {
    is_terminal: bool,
    is_shown: bool,
}

impl ProgressBar {
    /// Creates a bar that shows something only if standard error is a terminal.
    pub(crate) fn new() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            is_terminal: io::stderr().is_terminal() && !is_dumb,
            is_shown: false,
        }
    }

    /// Returns whether progress is shown.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    pub(crate) fn show(&mut self, progress: &Progress) {
        if self.is_terminal {
            let (columns, _) = terminal::size(io::stderr());
            stderr::write(format!("{ERASE}{}", line(progress, columns)).into_bytes());
            // Other output must not come before the bar.
            stderr::flush();
            self.is_shown = true;
        }
    }

    /// Removes the bar, before anything else is written to the terminal.
    pub(crate) fn clear(&mut self) {
        if self.is_shown {
            stderr::write(ERASE.into());
            stderr::flush();
            self.is_shown = false;
        }
    }
}

impl Drop for ProgressBar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Returns one line without a line break, at most `columns` wide.
fn line(progress: &Progress, columns: usize) -> String {
    let mut line = String::new();
    if let Some(fraction) = progress.fraction() {
        let filled = (fraction * BAR as f64).round() as usize;
        line += &format!("[{:<BAR$}] ", "#".repeat(filled));
        line += &format!("{:3.0} % ", (fraction * 100.0).floor());
    }
    match (progress.step(), progress.total()) {
        (Some(step), Some(total)) => line += &format!("{step}/{total} "),
        (Some(step), None) => line += &format!("step {step} "),
        _ => {}
    }
    if progress.state() != ProgressState::Processing {
        line += progress.state().as_str();
        line.push(' ');
    }
    if let Some(message) = progress.message() {
        line += &Untrusted(message).to_string();
    }
    let line = line.trim_end();
    // The last column stays free, because some terminals continue on the next line.
    let columns = columns.saturating_sub(1).max(1);
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut width = 1;
    let fits = |next: &char| {
        width += next.width().unwrap_or(0);
        width <= columns
    };
    let mut cut: String = line.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// Returns to the first column and erases the line.
const ERASE: &str = "\r\x1b[K";
/// The width of the bar.
const BAR: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        for (progress, expected) in [
            (Progress::started(), "started"),
            (
                Progress::processing(7, None).with_message("page 7"),
                "step 7 page 7",
            ),
            (
                Progress::processing(3, 12).with_message("page 3"),
                "[######                  ]  25 % 3/12 page 3",
            ),
            (
                Progress::processing(0, None).with_fraction(0.999),
                "[########################]  99 % step 0",
            ),
            (
                Progress::complete(),
                "[########################] 100 % complete",
            ),
            (
                Progress::error("no\x1b[2Jpaper\n"),
                "error no\\u{1b}[2Jpaper\\n",
            ),
        ] {
            assert_eq!(line(&progress, 80), expected);
        }
    }

    #[test]
    fn a_line_never_reaches_the_last_column() {
        for text in ["x".repeat(200), "日本語".repeat(60), "e\u{301}".repeat(200)] {
            let progress = Progress::processing(3, 12).with_message(text);
            for columns in [0, 1, 2, 20, 60, 61, 80, 500] {
                let width = line(&progress, columns).width();
                assert!(width < columns.max(2), "{width} of {columns}");
            }
        }
    }
}
