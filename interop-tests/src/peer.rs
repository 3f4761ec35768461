use std::{
    env,
    io::{self, Write},
};

use tokio::process::Command;

use crate::{
    AgentKind, Failure, Outcome, Target, process::Process, python::script_command, way::codec_name,
};

/// Chooses the implementation that the scripts run on; they read it themselves.
const VARIABLE: &str = "AGENTWIRE_PEER";

/// Whether the other side is the package agenkit, which does not follow all of PROTOCOL.md
/// (section 11 there).
#[must_use]
pub fn peer_is_agenkit() -> bool {
    env::var_os(VARIABLE).is_some_and(|peer| peer == "agenkit")
}

/// Says on standard error that a case is not run. The test harness does not hold this back, as it
/// does with what `eprintln!` prints in a test that passes.
pub fn skip(case: &str, reason: &str) {
    // Nothing is left to do for a test run whose standard error is gone.
    let _ = writeln!(io::stderr(), "SKIPPED {case}: {reason}");
}

/// A Python process that serves an agent: `serve.py`. Killed on drop.
#[derive(Debug)]
pub struct PeerServer {
    kind: AgentKind,
    process: Process,
    endpoint: String,
}

impl PeerServer {
    /// Starts the server, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If there is no Python, or if it cannot serve; with what it says about that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn start(kind: AgentKind, endpoint: &str) -> Result<Self, Failure> {
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

    /// Where it listens, with the port that it was given.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Adds what the server said on standard error to the failure of its client.
    #[must_use]
    pub fn explain(&self, failure: Failure) -> Failure {
        self.process.explain(failure)
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

    /// Has it end as a server does that is shut down, and starts another one in its place.
    ///
    /// # Errors
    ///
    /// If it does not end well, or if the other one cannot serve.
    ///
    /// # Cancel safety
    ///
    /// Not safe: there may be no server any more.
    pub async fn restart(&mut self) -> Outcome {
        self.process.end().await?;
        *self = Self::start(self.kind, &self.endpoint).await?;
        Ok(())
    }
}

/// A Python process that runs one case: `call.py`. Killed on drop.
#[derive(Debug)]
pub struct PeerClient {
    process: Process,
    case: String,
}

impl PeerClient {
    /// Starts a case against a server.
    ///
    /// # Errors
    ///
    /// If there is no Python.
    pub fn start(target: Target<'_>, case: &str) -> Result<Self, Failure> {
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
    /// The reason that `call.py` gives, if the case failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn passes(mut self) -> Outcome {
        let Self { process, case } = &mut self;
        let Some(line) = process.line().await? else {
            return Err(process.failure("ended without a result"));
        };
        if line == format!("ok {case}") {
            return process.end().await;
        }
        match line.strip_prefix(&format!("FAIL {case}: ")) {
            Some(reason) => Err(process.failure(format_args!("says: {reason}"))),
            None => Err(process.failure(format_args!("printed {line:?} as the result"))),
        }
    }

    /// Waits for the moment of the case `server_restart` at which the server has to be replaced.
    ///
    /// # Errors
    ///
    /// If something else comes, for one that the case has failed already.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn wants_restart(&mut self) -> Outcome {
        self.process.line_after("RESTART").await?;
        Ok(())
    }

    /// Tells the case `server_restart` that another server accepts connections.
    ///
    /// # Errors
    ///
    /// If the process has ended meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Not safe: part of the line may have been written.
    pub async fn restarted(&mut self) -> Outcome {
        self.process.write_line("restarted").await
    }
}

/// The names of the cases that `call.py` knows.
///
/// # Errors
///
/// If there is no Python.
///
/// # Cancel safety
///
/// Dropping the future kills the process.
pub async fn list_cases() -> Result<Vec<String>, Failure> {
    let mut process = start("call.py", &["--list"])?;
    let mut names = Vec::new();
    while let Some(name) = process.line().await? {
        names.push(name);
    }
    Ok(names)
}

fn start(script: &str, arguments: &[&str]) -> Result<Process, Failure> {
    let mut command = Command::from(script_command(script, arguments)?);
    Process::start(format!("{script} {}", arguments.join(" ")), &mut command)
}
