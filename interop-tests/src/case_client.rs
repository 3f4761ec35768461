//! A client in another language that runs one case.

use agentwire::LocalAgent;

use crate::{
    AgentKind, PythonPeer, Target, TestFailure, TestResult, go_peer, process::Process, python_peer,
    wire::codec_name,
};

/// A process that runs one case against a server. Dropping the value kills the process.
#[derive(Debug)]
pub struct CaseClient {
    process: Process,
    case: String,
}

impl CaseClient {
    /// Starts running a case with `call.py`, on an implementation in Python.
    ///
    /// # Errors
    ///
    /// Returns an error if Python is missing.
    pub fn in_python(
        peer: PythonPeer,
        target: Target<'_>,
        case: &str,
    ) -> Result<Self, TestFailure> {
        let codec = codec_name(target.format);
        let arguments = ["--codec", codec, target.endpoint, case];
        Ok(Self {
            process: python_peer::start(peer, "call.py", &arguments)?,
            case: case.to_owned(),
        })
    }

    /// Starts running a case with the program in Go, against the server at `endpoint`.
    ///
    /// # Errors
    ///
    /// Returns an error if Go is missing.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn in_go(endpoint: &str, case: &str) -> Result<Self, TestFailure> {
        Ok(Self {
            process: go_peer::start(&["call", endpoint, case]).await?,
            case: case.to_owned(),
        })
    }

    /// Waits until the case has passed against `server`, then stops the server. Replaces the server
    /// in the middle of the case `server_restart`.
    ///
    /// # Errors
    ///
    /// Returns an error with the output of the client if the case fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed and the server is closed.
    pub async fn passes_against(mut self, mut server: LocalAgent) -> TestResult {
        if self.case == "server_restart" {
            self.wait_for_restart_request().await?;
            let endpoint = server.endpoint().to_string();
            server.stop().await;
            server = AgentKind::for_case(&self.case).serve(&endpoint).await?;
            self.confirm_restart().await?;
        }
        self.passes().await?;
        server.stop().await;
        Ok(())
    }

    /// Waits until the case has passed and the process has exited.
    ///
    /// # Errors
    ///
    /// Returns an error with the output of the client if the case fails.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn passes(mut self) -> TestResult {
        let Self { process, case } = &mut self;
        let Some(line) = process.line().await? else {
            return Err(process.failure("ended without a result"));
        };
        if line == format!("ok {case}") {
            return process.end().await;
        }
        match line.strip_prefix(&format!("FAIL {case}: ")) {
            Some(reason) => Err(process.failure(format_args!("failed: {reason}"))),
            None => Err(process.failure(format_args!("printed {line:?} as the result"))),
        }
    }

    /// Waits until the case `server_restart` requests a new server.
    ///
    /// # Errors
    ///
    /// Returns an error if the client prints a different line, for example because the case has
    /// failed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn wait_for_restart_request(&mut self) -> TestResult {
        self.process.line_after("RESTART").await?;
        Ok(())
    }

    /// Notifies the case `server_restart` that the new server accepts connections.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has exited.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe. If the future is dropped, part of the line may have been
    /// written.
    pub async fn confirm_restart(&mut self) -> TestResult {
        self.process.write_line("restarted").await
    }
}
