//! The program in `go/` as a child process: a server, and the list of its cases.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use tokio::{process::Command, sync::OnceCell};

use crate::{AgentKind, TestFailure, TestResult, process::Process};

/// A process that serves the interop agent in Go. Dropping the value kills the process.
#[derive(Debug)]
pub struct GoServer {
    kind: AgentKind,
    process: Process,
    endpoint: String,
}

impl GoServer {
    /// Starts the server and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// Returns an error if Go is missing. If the server cannot listen, the error contains the
    /// standard error of the server.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn start(kind: AgentKind, endpoint: &str) -> Result<Self, TestFailure> {
        let mut arguments = vec!["serve"];
        if kind == AgentKind::Mute {
            arguments.push("--no-stream");
        }
        arguments.push(endpoint);
        let mut process = start(&arguments).await?;
        let endpoint = process.line_after("READY ").await?;
        Ok(Self {
            kind,
            process,
            endpoint,
        })
    }

    /// Returns the endpoint of the server, which contains the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Adds the standard error of the server to a failure of a client.
    #[must_use]
    pub fn explain(&self, failure: TestFailure) -> TestFailure {
        self.process.explain(failure)
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
        *self = Self::start(self.kind, &self.endpoint).await?;
        Ok(())
    }

    /// Waits until the process has ended by itself, and returns the text of its panic.
    ///
    /// # Errors
    ///
    /// Returns an error if the process has not panicked.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn panics(mut self) -> Result<String, TestFailure> {
        match self.process.line().await? {
            Some(line) => Err(self.process.failure(format_args!("printed {line:?}"))),
            None => {
                let text = self.process.failure("ended").to_string();
                match text.find("panic: ") {
                    Some(start) => Ok(text[start..].to_owned()),
                    None => Err(TestFailure::new(text)),
                }
            }
        }
    }
}

/// Returns the names of the cases that the client in Go can run, in alphabetical order.
///
/// # Errors
///
/// Returns an error if Go is missing.
///
/// # Cancel safety
///
/// If the future is dropped, the process is killed.
pub async fn list_go_cases() -> Result<Vec<String>, TestFailure> {
    let mut process = start(&["list"]).await?;
    let mut names = Vec::new();
    while let Some(name) = process.line().await? {
        names.push(name);
    }
    Ok(names)
}

pub(crate) async fn start(arguments: &[&str]) -> Result<Process, TestFailure> {
    let mut command = Command::new(program().await?);
    Process::start(
        format!("go {}", arguments.join(" ")),
        command.args(arguments),
    )
}

/// Returns the path of the program, which is built once for all tests of a process.
async fn program() -> Result<&'static Path, TestFailure> {
    static BUILT: OnceCell<PathBuf> = OnceCell::const_new();
    let path = BUILT.get_or_try_init(build).await?;
    Ok(path.as_path())
}

async fn build() -> Result<PathBuf, TestFailure> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = package.join("../target/go-interop");
    std::fs::create_dir_all(&target)?;
    let target = target.canonicalize()?;
    let program = target.join(format!("interop{}", env::consts::EXE_SUFFIX));
    let built = go()
        .args(["build", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(package.join("go"))
        // The program needs no module but its own, and no other version of Go.
        .envs([
            ("GOFLAGS", ""),
            ("GOPROXY", "off"),
            ("GOTOOLCHAIN", "local"),
        ])
        .env("GOCACHE", target.join("cache"))
        .output()
        .await
        .map_err(|error| TestFailure::from(error).during(MISSING))?;
    if built.status.success() {
        return Ok(program);
    }
    let stderr = String::from_utf8_lossy(&built.stderr);
    Err(TestFailure::new(format!("go build failed: {stderr}")))
}

/// Returns the command `go`: the one that the environment names, the one that `scripts/go` has
/// installed, or that of the system.
fn go() -> Command {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/go/go/bin/go");
    let installed = || installed.exists().then(|| OsString::from(&installed));
    let command = env::var_os(VARIABLE).or_else(installed);
    Command::new(command.unwrap_or_else(|| "go".into()))
}

const MISSING: &str = "these tests need Go 1.19 or later, which scripts/go installs; set \
                       AGENTWIRE_GO to the path of another go command";

const VARIABLE: &str = "AGENTWIRE_GO";
