//! A Rust server for the interop agent as a child process.

use std::path::Path;

use tokio::process::Command;

use crate::{Holdings, TestFailure, TestResult, process::Process};

/// A child process that runs the program `interop-agent`, which serves the interop agent in Rust.
/// Dropping the value kills the process.
#[derive(Debug)]
pub struct RustServer {
    process: Process,
    endpoint: String,
}

impl RustServer {
    /// Starts the server and waits until it accepts connections. `program` is the path of the
    /// program, which tests read from `CARGO_BIN_EXE_interop-agent`.
    ///
    /// # Errors
    ///
    /// Returns an error with the standard error of the server if the server cannot listen.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn start(program: &str, endpoint: &str) -> Result<Self, TestFailure> {
        Self::run(Command::new(program).arg(endpoint)).await
    }

    /// Starts a server with a [`RecordingAgent`](crate::RecordingAgent), which records its calls in
    /// the file at the path `log`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn start_recording(
        program: &str,
        endpoint: &str,
        log: &Path,
    ) -> Result<Self, TestFailure> {
        Self::run(Command::new(program).arg(endpoint).arg(log)).await
    }

    async fn run(command: &mut Command) -> Result<Self, TestFailure> {
        let mut process = Process::start("interop-agent", command)?;
        let endpoint = process.line_after("READY ").await?;
        Ok(Self { process, endpoint })
    }

    /// Returns the endpoint of the server. For TCP, it contains the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stops the process with SIGSTOP, until [`thaw`](Self::thaw) is called.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has exited.
    pub fn freeze(&self) -> TestResult {
        self.process.freeze()
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has exited.
    pub fn thaw(&self) -> TestResult {
        self.process.thaw()
    }

    /// Returns what the process holds at this moment.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has exited.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe. If the future is dropped, a later call may return the
    /// holdings of this moment.
    pub async fn holdings(&mut self) -> Result<Holdings, TestFailure> {
        self.process.write_line("report").await?;
        let line = self.process.line_after("HOLDS ").await?;
        let numbers = line.split(' ').map(str::parse);
        match numbers.collect::<Result<Vec<_>, _>>()?[..] {
            [open_files, tasks, bytes] => Ok(Holdings {
                open_files,
                tasks,
                bytes,
            }),
            _ => Err(self.process.failure(format_args!("printed {line:?}"))),
        }
    }

    /// Stops the server gracefully and waits until the process has exited.
    ///
    /// # Errors
    ///
    /// Returns an error if the process fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn stop(mut self) -> TestResult {
        self.process.end().await
    }

    /// Kills the process with SIGKILL and waits until it has exited.
    ///
    /// # Errors
    ///
    /// Returns an error if the process cannot be killed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed too.
    pub async fn kill(&mut self) -> TestResult {
        self.process.kill().await
    }
}
