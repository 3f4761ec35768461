//! The servers: some are never killed, so that they can show what they leak; others are.

use agentwire_interop_tests::{AgentKind, PythonServer, RustServer, TestFailure, TestResult};

/// The servers of all rounds.
pub(crate) struct Servers {
    /// A server on a Unix socket and one on TCP that are never killed.
    pub(crate) steady: [RustServer; 2],
    pub(crate) steady_python: PythonServer,
    pub(crate) rust: Mortal,
    pub(crate) python: Mortal,
    _directory: tempfile::TempDir,
}

impl Servers {
    pub(crate) async fn start() -> Result<Self, TestFailure> {
        let directory = tempfile::tempdir()?;
        let unix = |name| format!("unix://{}/{name}", directory.path().display());
        let python = unix("steady-python");
        Ok(Self {
            steady: [
                RustServer::start(PROGRAM, &unix("steady")).await?,
                RustServer::start(PROGRAM, "tcp://127.0.0.1:0").await?,
            ],
            steady_python: PythonServer::start(AgentKind::Interop, &python).await?,
            rust: Mortal::start(Language::Rust, unix("rust")).await?,
            python: Mortal::start(Language::Python, unix("python")).await?,
            _directory: directory,
        })
    }
}

/// A server that is frozen, and killed and started again.
pub(crate) struct Mortal {
    language: Language,
    endpoint: String,
    server: Server,
}

#[derive(Debug, Clone, Copy)]
enum Language {
    Rust,
    Python,
}

enum Server {
    Rust(RustServer),
    Python(PythonServer),
}

impl Mortal {
    async fn start(language: Language, endpoint: String) -> Result<Self, TestFailure> {
        let server = Server::start(language, &endpoint).await?;
        Ok(Self {
            language,
            endpoint,
            server,
        })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Stops the process with SIGSTOP.
    pub(crate) fn freeze(&self) -> TestResult {
        match &self.server {
            Server::Rust(server) => server.freeze(),
            Server::Python(server) => server.freeze(),
        }
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&self) -> TestResult {
        match &self.server {
            Server::Rust(server) => server.thaw(),
            Server::Python(server) => server.thaw(),
        }
    }

    /// Kills the process, as `kill -9` does, and starts another at the same endpoint.
    pub(crate) async fn replace(&mut self) -> TestResult {
        match &mut self.server {
            Server::Rust(server) => server.kill().await?,
            Server::Python(server) => server.kill().await?,
        }
        self.server = Server::start(self.language, &self.endpoint).await?;
        Ok(())
    }
}

impl Server {
    async fn start(language: Language, endpoint: &str) -> Result<Self, TestFailure> {
        Ok(match language {
            Language::Rust => Self::Rust(RustServer::start(PROGRAM, endpoint).await?),
            Language::Python => {
                Self::Python(PythonServer::start(AgentKind::Interop, endpoint).await?)
            }
        })
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_interop-agent");
