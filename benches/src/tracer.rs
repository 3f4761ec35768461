//! Tracers, which are programs that count system calls.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::BenchError;

/// A program that counts the system calls of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tracer {
    /// Counts system calls in the kernel with low overhead.
    Perf,
    /// Stops the process at each system call. The stops change the timing, so that some peers make
    /// more system calls than without a tracer.
    Strace,
}

impl Tracer {
    /// Returns the first tracer that works on this machine.
    pub(crate) fn usable() -> Option<Self> {
        [Self::Perf, Self::Strace].into_iter().find(|tracer| {
            let [program, args @ ..] = &tracer.command(Path::new("/dev/null"))[..] else {
                return false;
            };
            Command::new(program)
                .args(args)
                .arg("true")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })
    }

    /// Returns the command line of the tracer, to which the traced command is appended.
    pub(crate) fn command(self, output: &Path) -> Vec<String> {
        let output = output.display().to_string();
        let line = match self {
            Self::Perf => [
                "perf",
                "stat",
                "-x",
                ",",
                "-e",
                "raw_syscalls:sys_enter",
                "-o",
                &output,
            ]
            .to_vec(),
            Self::Strace => ["strace", "-f", "-c", "-o", &output].to_vec(),
        };
        line.into_iter().map(str::to_owned).collect()
    }

    /// Returns the total number of system calls from the output of the tracer.
    pub(crate) fn total(self, output: &str) -> Result<u64, BenchError> {
        let calls = match self {
            // Example: 6034,,raw_syscalls:sys_enter,...
            Self::Perf => output
                .lines()
                .find(|line| line.contains("raw_syscalls"))
                .and_then(|line| line.split(',').next()),
            // The columns are: % time, seconds, usecs/call, calls and, if any, errors.
            Self::Strace => output
                .lines()
                .find(|line| line.ends_with(" total"))
                .and_then(|line| line.split_whitespace().nth(3)),
        };
        Ok(calls.ok_or("the summary has no total")?.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_strace_is_read_with_errors_and_without() {
        let head = "% time     seconds  usecs/call     calls    errors syscall\n";
        let with = format!("{head}100.00    0.000123          12      6034        17 total\n");
        let without = format!("{head}100.00    0.000123          12      6034           total\n");
        assert_eq!(Tracer::Strace.total(&with).unwrap(), 6034);
        assert_eq!(Tracer::Strace.total(&without).unwrap(), 6034);
        assert!(Tracer::Strace.total(head).is_err());
    }

    #[test]
    fn the_total_of_perf_is_its_number() {
        let text = "# started on a day\n\n6034,,raw_syscalls:sys_enter,825038,100.00,,\n";
        assert_eq!(Tracer::Perf.total(text).unwrap(), 6034);
        let forbidden = "<not supported>,,raw_syscalls:sys_enter,0,100.00,,\n";
        assert!(Tracer::Perf.total(forbidden).is_err());
    }
}
