//! The Python scripts as child processes: a server, and callers.

use std::collections::BTreeMap;

use tokio::process::Command;

use crate::{
    AgentKind, Target, TestFailure, TestResult, process::Process, python::script_command,
    wire::codec_name,
};

/// An implementation of the protocol in Python, on which the scripts can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PythonPeer {
    /// The implementation of these tests, `python/agentwire_peer`.
    Own,
    /// The package agenkit from PyPI, which defined the protocol. Its server differs from
    /// PROTOCOL.md in some places (section 11), and it supports only JSON.
    Agenkit,
    /// The implementation of these tests over WebSocket, on the package websockets.
    Websockets,
    /// The same on the package aiohttp.
    Aiohttp,
    /// The same on the package wsproto.
    Wsproto,
    /// The implementation of these tests over HTTP, on the package aiohttp.
    AiohttpHttp,
}

impl PythonPeer {
    /// Returns the value of `AGENTWIRE_PEER` that selects the implementation.
    const fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Agenkit => "agenkit",
            Self::Websockets => "websockets",
            Self::Aiohttp => "aiohttp",
            Self::Wsproto => "wsproto",
            Self::AiohttpHttp => "aiohttp-http",
        }
    }
}

/// A Python process that serves an agent with `serve.py`. Dropping the value kills the process.
#[derive(Debug)]
pub struct PythonServer {
    peer: PythonPeer,
    kind: AgentKind,
    process: Process,
    endpoint: String,
}

impl PythonServer {
    /// Starts the server on the implementation of these tests, and waits until the server accepts
    /// connections.
    ///
    /// # Errors
    ///
    /// Returns an error if Python is missing. If the server cannot listen, the error contains the
    /// standard error of the server.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn start(kind: AgentKind, endpoint: &str) -> Result<Self, TestFailure> {
        Self::start_on(PythonPeer::Own, kind, endpoint).await
    }

    /// Starts the server on an implementation, and waits until the server accepts connections.
    ///
    /// # Errors
    ///
    /// Returns an error if Python or the implementation is missing. If the server cannot listen,
    /// the error contains the standard error of the server.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn start_on(
        peer: PythonPeer,
        kind: AgentKind,
        endpoint: &str,
    ) -> Result<Self, TestFailure> {
        let mut arguments = vec![endpoint];
        if kind == AgentKind::Mute {
            arguments.push("--no-stream");
        }
        let mut process = start(peer, "serve.py", &arguments)?;
        let endpoint = process.line_after("READY ").await?;
        Ok(Self {
            peer,
            kind,
            process,
            endpoint,
        })
    }

    /// Returns the endpoint of the server. For TCP, it contains the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Adds the standard error of the server to a failure of a client.
    #[must_use]
    pub fn explain(&self, failure: TestFailure) -> TestFailure {
        self.process.explain(failure)
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

    /// Returns the number of open file descriptors of the process. Only Linux counts them.
    #[must_use]
    pub fn open_files(&self) -> usize {
        self.process.open_files()
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

    /// Shuts down the server and starts a new server at the same endpoint.
    ///
    /// # Errors
    ///
    /// Returns an error if the old server does not exit successfully or the new server cannot
    /// listen.
    ///
    /// # Cancel safety
    ///
    /// This method is not cancel safe. If the future is dropped, possibly no server is running.
    pub async fn restart(&mut self) -> TestResult {
        self.process.end().await?;
        *self = Self::start_on(self.peer, self.kind, &self.endpoint).await?;
        Ok(())
    }
}

/// A Python process that calls a server again and again with `soak.py`. Dropping the value kills
/// the process.
#[derive(Debug)]
pub struct PythonCallers {
    process: Process,
}

impl PythonCallers {
    /// Starts the callers. They make at least `calls` calls, and go on until
    /// [`finish`](Self::finish) is called.
    ///
    /// # Errors
    ///
    /// Returns an error if Python is missing.
    pub fn start(target: Target<'_>, calls: u64, seed: u64) -> Result<Self, TestFailure> {
        let (codec, calls, seed) = (
            codec_name(target.format),
            calls.to_string(),
            seed.to_string(),
        );
        let arguments = [
            "--codec",
            codec,
            "--calls",
            &calls,
            "--seed",
            &seed,
            target.endpoint,
        ];
        Ok(Self {
            process: start(PythonPeer::Own, "soak.py", &arguments)?,
        })
    }

    /// Tells the callers to finish, waits for them, and returns the number of calls with each
    /// outcome.
    ///
    /// # Errors
    ///
    /// Returns an error if a caller got a wrong reply or left something behind.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn finish(mut self) -> Result<BTreeMap<String, u64>, TestFailure> {
        self.process.write_line("finish").await?;
        let mut outcomes = BTreeMap::new();
        loop {
            let Some(line) = self.process.line().await? else {
                return Err(self.process.failure("ended without a result"));
            };
            if line == "ok" {
                self.process.end().await?;
                return Ok(outcomes);
            }
            let Some((count, outcome)) = line.split_once(' ') else {
                return Err(self.process.failure(format_args!("printed {line:?}")));
            };
            match count.parse() {
                Ok(count) => outcomes.insert(outcome.to_owned(), count),
                Err(_) => return Err(self.process.failure(format_args!("printed {line:?}"))),
            };
        }
    }
}

/// Returns the names of the cases that `call.py` supports.
///
/// # Errors
///
/// Returns an error if Python is missing.
///
/// # Cancel safety
///
/// If the future is dropped, the process is killed.
pub async fn list_cases() -> Result<Vec<String>, TestFailure> {
    let mut process = start(PythonPeer::Own, "call.py", &["--list"])?;
    let mut names = Vec::new();
    while let Some(name) = process.line().await? {
        names.push(name);
    }
    Ok(names)
}

pub(crate) fn start(
    peer: PythonPeer,
    script: &str,
    arguments: &[&str],
) -> Result<Process, TestFailure> {
    let mut command = Command::from(script_command(script, arguments)?);
    command.env(VARIABLE, peer.name());
    Process::start(format!("{script} {}", arguments.join(" ")), &mut command)
}

/// The environment variable that selects the implementation that the scripts use. The scripts read
/// the same variable.
const VARIABLE: &str = "AGENTWIRE_PEER";
