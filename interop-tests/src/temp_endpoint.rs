//! Endpoints for servers that live as long as one test.

use tempfile::TempDir;

use crate::TestFailure;

/// The carrier of the bytes between the two sides of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A Unix socket in a directory of its own.
    Unix,
    /// TCP on the loopback interface.
    Tcp,
}

/// An unused endpoint for a server. Dropping it removes its directory.
#[derive(Debug)]
pub struct TempEndpoint {
    endpoint: String,
    _directory: Option<TempDir>,
}

impl TempEndpoint {
    /// Creates an endpoint: a path without a file, or TCP with any free port.
    ///
    /// # Errors
    ///
    /// If the temporary directory cannot be created.
    pub fn new(carrier: Carrier) -> Result<Self, TestFailure> {
        Ok(match carrier {
            Carrier::Unix => {
                let directory = tempfile::tempdir()?;
                Self {
                    endpoint: format!("unix://{}/agent.sock", directory.path().display()),
                    _directory: Some(directory),
                }
            }
            Carrier::Tcp => Self {
                endpoint: "tcp://127.0.0.1:0".to_owned(),
                _directory: None,
            },
        })
    }

    /// Returns the endpoint to listen on. Clients need the server's own endpoint, which has the
    /// chosen port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
