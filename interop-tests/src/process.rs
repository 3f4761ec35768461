//! Child processes that exchange lines of text with a test.

use std::{fmt, fs, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{TestFailure, TestResult};

/// A child process that reads and writes lines. Dropping the value kills the process.
///
/// The standard input of the process is a pipe. The scripts exit when the pipe is closed, so no
/// process remains if the test run is killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    /// The pipe to standard input, or `None` after [`end`](Self::end) has closed the pipe.
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    /// The file for standard error. A pipe would fill up unless a task read it continuously.
    stderr: NamedTempFile,
}

impl Process {
    /// Starts a program. `name` identifies the program in failures.
    pub(crate) fn start(
        name: impl Into<String>,
        command: &mut Command,
    ) -> Result<Self, TestFailure> {
        let name = name.into();
        let stderr = NamedTempFile::new()?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.reopen()?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| TestFailure::from(error).during(format!("starting {name}")))?;
        let stdin = child.stdin.take();
        let Some(stdout) = child.stdout.take() else {
            return Err(TestFailure::new(format!(
                "{name} was started without a pipe"
            )));
        };
        Ok(Self {
            name,
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
            stderr,
        })
    }

    /// Reads the next line of standard output. Returns `None` at EOF.
    pub(crate) async fn line(&mut self) -> Result<Option<String>, TestFailure> {
        Ok(self.stdout.next_line().await?)
    }

    /// Reads the next line, which must start with `prefix`, and returns the text after the prefix.
    pub(crate) async fn line_after(&mut self, prefix: &str) -> Result<String, TestFailure> {
        match self.line().await? {
            Some(line) => match line.strip_prefix(prefix) {
                Some(rest) => Ok(rest.to_owned()),
                None => Err(self.failure(format!("printed {line:?} instead of {prefix:?}"))),
            },
            None => {
                let status = self.child.wait().await?;
                Err(self.failure(format!("ended ({status}) before it printed {prefix:?}")))
            }
        }
    }

    /// Writes a line to standard input.
    pub(crate) async fn write_line(&mut self, line: &str) -> TestResult {
        let Some(stdin) = &mut self.stdin else {
            return Err(self.failure("has been stopped and accepts no more lines"));
        };
        let written = stdin.write_all(format!("{line}\n").as_bytes()).await;
        written.map_err(|error| self.failure(format_args!("does not read {line:?}: {error}")))
    }

    /// Closes standard input and waits until the process exits successfully.
    pub(crate) async fn end(&mut self) -> TestResult {
        self.stdin = None;
        let status = self.child.wait().await?;
        if status.success() {
            return Ok(());
        }
        Err(self.failure(format_args!(
            "exited with {status} when its input was closed"
        )))
    }

    /// Stops the process with SIGSTOP, until [`thaw`](Self::thaw) is called.
    pub(crate) fn freeze(&self) -> TestResult {
        self.signal(Signal::STOP)
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) -> TestResult {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> TestResult {
        // The process has not been waited for, so no other process has its id.
        let id = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        match id {
            Some(id) => Ok(kill_process(id, signal)?),
            None => Err(self.failure("has exited")),
        }
    }

    /// Returns the number of open file descriptors of the process. Only Linux counts them.
    pub(crate) fn open_files(&self) -> usize {
        match self.child.id() {
            Some(id) => open_files(&id.to_string()),
            None => 0,
        }
    }

    /// Kills the process with SIGKILL and waits until it has exited.
    pub(crate) async fn kill(&mut self) -> TestResult {
        Ok(self.child.kill().await?)
    }

    /// Creates a failure that reports a problem of this program. The failure includes the standard
    /// error of the program.
    pub(crate) fn failure(&self, problem: impl fmt::Display) -> TestFailure {
        self.explain(TestFailure::new(format!("{} {problem}", self.name)))
    }

    /// Adds the standard error of this program to a failure, unless it is empty.
    pub(crate) fn explain(&self, failure: TestFailure) -> TestFailure {
        match text_of(&self.stderr) {
            text if text.is_empty() => failure,
            text => TestFailure::new(format!("{failure}\n[{}] {text}", self.name)),
        }
    }
}

/// Returns the number of open file descriptors of a process, which may be `self`. Only Linux counts
/// them.
pub(crate) fn open_files(process: &str) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

fn text_of(file: &NamedTempFile) -> String {
    match fs::read(file.path()) {
        Ok(text) => String::from_utf8_lossy(&text).trim_end().to_owned(),
        Err(error) => format!("(cannot be read: {error})"),
    }
}
