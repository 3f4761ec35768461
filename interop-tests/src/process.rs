use std::{fmt, fs, process::Stdio};

use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{Failure, Outcome};

/// A child process that talks in lines, and is killed on drop.
///
/// Its standard input is a pipe. The scripts also end by themselves when that closes, so that none
/// outlives a test run that was itself killed.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    /// `None` once it was told to end.
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    /// A file and not a pipe: it never fills up, and needs nobody who reads it.
    stderr: NamedTempFile,
}

impl Process {
    /// Starts a program; `name` is what failures call it.
    pub(crate) fn start(name: impl Into<String>, command: &mut Command) -> Result<Self, Failure> {
        let name = name.into();
        let stderr = NamedTempFile::new()?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.reopen()?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::from(error).during(format!("starting {name}")))?;
        let stdin = child.stdin.take();
        let Some(stdout) = child.stdout.take() else {
            return Err(Failure::new(format!("{name} was started without a pipe")));
        };
        Ok(Self {
            name,
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
            stderr,
        })
    }

    /// The next line of its standard output, or `None` at the end of it.
    pub(crate) async fn line(&mut self) -> Result<Option<String>, Failure> {
        Ok(self.stdout.next_line().await?)
    }

    /// The next line, which has to start with `prefix`; gives the rest of it.
    pub(crate) async fn line_after(&mut self, prefix: &str) -> Result<String, Failure> {
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

    /// Writes a line to its standard input.
    pub(crate) async fn write_line(&mut self, line: &str) -> Outcome {
        match &mut self.stdin {
            Some(stdin) => Ok(stdin.write_all(format!("{line}\n").as_bytes()).await?),
            None => Err(self.failure("was told to end and takes no more lines")),
        }
    }

    /// Ends its standard input, and waits until it has ended itself, which has to go well.
    pub(crate) async fn end(&mut self) -> Outcome {
        self.stdin = None;
        let status = self.child.wait().await?;
        if status.success() {
            return Ok(());
        }
        Err(self.failure(format_args!("ended badly when it was stopped ({status})")))
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Outcome {
        Ok(self.child.kill().await?)
    }

    /// A failure of this program, with what it has to say about it.
    pub(crate) fn failure(&self, problem: impl fmt::Display) -> Failure {
        self.explain(Failure::new(format!("{} {problem}", self.name)))
    }

    /// Adds what this program wrote to its standard error, if anything.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        match text_of(&self.stderr) {
            text if text.is_empty() => failure,
            text => Failure::new(format!("{failure}\n[{}] {text}", self.name)),
        }
    }
}

fn text_of(file: &NamedTempFile) -> String {
    match fs::read(file.path()) {
        Ok(text) => String::from_utf8_lossy(&text).trim_end().to_owned(),
        Err(error) => format!("(cannot be read: {error})"),
    }
}
