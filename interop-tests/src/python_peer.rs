//! The Python scripts, as processes: a server and a client.

use std::{
    env,
    io::{self, Write},
};

use tokio::process::Command;

use crate::{
    AgentKind, Target, TestFailure, TestResult, process::Process, python::script_command,
    wire::codec_name,
};

/// Returns true if the scripts run on the package agenkit, which does not follow all of PROTOCOL.md
/// (section 11).
#[must_use]
pub fn peer_is_agenkit() -> bool {
    env::var_os(VARIABLE).is_some_and(|peer| peer == "agenkit")
}

/// Reports on standard error that a case is not run. The test harness captures `eprintln!`, but not
/// this.
pub fn skip(case: &str, reason: &str) {
    // Without a standard error there is no way to report anything.
    let _ = writeln!(io::stderr(), "SKIPPED {case}: {reason}");
}

/// A Python process that serves an agent: `serve.py`. Dropping it kills the process.
#[derive(Debug)]
pub struct PythonServer {
    kind: AgentKind,
    process: Process,
    endpoint: String,
}

impl PythonServer {
    /// Starts the server, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If Python is missing, or if the server cannot listen; the failure has the server's standard
    /// error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn start(kind: AgentKind, endpoint: &str) -> Result<Self, TestFailure> {
        let mut arguments = vec![endpoint];
        if kind == AgentKind::Mute {
            arguments.push("--no-stream");
        }
        let mut process = start("serve.py", &arguments)?;
        let endpoint = process.line_after("READY ").await?;
        Ok(Self {
            kind,
            process,
            endpoint,
        })
    }

    /// Returns the endpoint, with the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Adds the server's standard error to a failure of its client.
    #[must_use]
    pub fn explain(&self, failure: TestFailure) -> TestFailure {
        self.process.explain(failure)
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

    /// Shuts the server down, and starts another one at the same endpoint.
    ///
    /// # Errors
    ///
    /// If the old server does not exit with success, or if the new one cannot listen.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropping the future may leave no server running.
    pub async fn restart(&mut self) -> TestResult {
        self.process.end().await?;
        *self = Self::start(self.kind, &self.endpoint).await?;
        Ok(())
    }
}

/// A Python process that runs one case: `call.py`. Dropping it kills the process.
#[derive(Debug)]
pub struct PythonClient {
    process: Process,
    case: String,
}

impl PythonClient {
    /// Starts a case against a server.
    ///
    /// # Errors
    ///
    /// If Python is missing.
    pub fn start(target: Target<'_>, case: &str) -> Result<Self, TestFailure> {
        let codec = codec_name(target.format);
        Ok(Self {
            process: start("call.py", &["--codec", codec, target.endpoint, case])?,
            case: case.to_owned(),
        })
    }

    /// Waits until the case has passed and the process has ended.
    ///
    /// # Errors
    ///
    /// The reason that `call.py` prints, if the case failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
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

    /// Waits until the case `server_restart` asks for another server.
    ///
    /// # Errors
    ///
    /// If the client prints any other line, for example because the case has failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn wait_for_restart_request(&mut self) -> TestResult {
        self.process.line_after("RESTART").await?;
        Ok(())
    }

    /// Tells the case `server_restart` that another server accepts connections.
    ///
    /// # Errors
    ///
    /// If the process has exited.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: part of the line may have been written.
    pub async fn confirm_restart(&mut self) -> TestResult {
        self.process.write_line("restarted").await
    }
}

/// Returns the names of the cases that `call.py` has.
///
/// # Errors
///
/// If Python is missing.
///
/// # Cancel safety
///
/// Dropping the future kills the process.
pub async fn list_cases() -> Result<Vec<String>, TestFailure> {
    let mut process = start("call.py", &["--list"])?;
    let mut names = Vec::new();
    while let Some(name) = process.line().await? {
        names.push(name);
    }
    Ok(names)
}

fn start(script: &str, arguments: &[&str]) -> Result<Process, TestFailure> {
    let mut command = Command::from(script_command(script, arguments)?);
    Process::start(format!("{script} {}", arguments.join(" ")), &mut command)
}

/// Selects the implementation that the scripts run on. The scripts read it, too.
const VARIABLE: &str = "AGENTWIRE_PEER";
