use std::path::Path;

use tokio::process::Command;

use crate::{Failure, Outcome, process::Process};

/// A process that serves the interop agent in Rust: the program `interop-agent`. Killed on drop.
#[derive(Debug)]
pub struct RustServer {
    process: Process,
    endpoint: String,
}

impl RustServer {
    /// Starts the server, and waits until it accepts connections. Cargo tells tests where the program is.
    ///
    /// # Errors
    ///
    /// If it cannot serve, with what it says about that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn start(program: &str, endpoint: &str) -> Result<Self, Failure> {
        Self::run(Command::new(program).arg(endpoint)).await
    }

    /// Starts one that notes what it does in that file, a [`Witness`](crate::Witness).
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn start_witness(
        program: &str,
        endpoint: &str,
        notes: &Path,
    ) -> Result<Self, Failure> {
        Self::run(Command::new(program).arg(endpoint).arg(notes)).await
    }

    async fn run(command: &mut Command) -> Result<Self, Failure> {
        let mut process = Process::start("interop-agent", command)?;
        let endpoint = process.line_after("READY ").await?;
        Ok(Self { process, endpoint })
    }

    /// Where it listens, with the port that it was given.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Ends it at once, as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If the system does not let it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process all the same.
    pub async fn kill(self) -> Outcome {
        self.process.kill().await
    }
}
