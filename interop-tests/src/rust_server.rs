//! A server of the interop agent in Rust, as a process.

use std::path::Path;

use tokio::process::Command;

use crate::{TestFailure, TestResult, process::Process};

/// A process that serves the interop agent in Rust: the program `interop-agent`. Dropping it kills
/// the process.
#[derive(Debug)]
pub struct RustServer {
    process: Process,
    endpoint: String,
}

impl RustServer {
    /// Starts the server, and waits until it accepts connections. Tests find the path of the
    /// program in `CARGO_BIN_EXE_interop-agent`.
    ///
    /// # Errors
    ///
    /// If the server cannot listen; the failure has the server's standard error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn start(program: &str, endpoint: &str) -> Result<Self, TestFailure> {
        Self::run(Command::new(program).arg(endpoint)).await
    }

    /// Starts a server with a [`RecordingAgent`](crate::RecordingAgent), which records its calls in
    /// the file at `log`.
    ///
    /// # Errors
    ///
    /// The same as for [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
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

    /// Returns the endpoint, with the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Kills the process, as `kill -9` does, and waits until it has exited.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process, too.
    pub async fn kill(self) -> TestResult {
        self.process.kill().await
    }
}
