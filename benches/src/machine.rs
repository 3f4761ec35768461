//! The description of the machine on which a measurement ran.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

/// The machine and the date of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory: String,
    pub(crate) kernel: String,
    pub(crate) rust: String,
    pub(crate) commit: String,
}

impl Machine {
    /// Returns a description of this machine. Values that cannot be determined are empty.
    pub(crate) fn this() -> Self {
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let kilobytes: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        Self {
            date: output("date", &["--utc", "+%Y-%m-%d"]),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: format!("{:.0} GiB", kilobytes as f64 / 1024.0 / 1024.0),
            kernel: output("uname", &["-sr"]),
            rust: output("rustc", &["--version"]),
            commit: output("git", &["describe", "--always", "--dirty"]),
        }
    }

    pub(crate) fn sentence(&self) -> String {
        format!(
            "{}, {} cores, {} of memory, {}, {}, commit {}, on {}",
            self.processor, self.cores, self.memory, self.kernel, self.rust, self.commit, self.date
        )
    }
}

/// Returns the value from a line `name : value` in a system file.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
