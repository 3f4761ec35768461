use tempfile::TempDir;

use crate::Failure;

/// What carries the bytes between the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A Unix socket in a directory of its own.
    Unix,
    /// TCP on the loopback interface.
    Tcp,
}

/// Where a server is asked to listen. What is made there goes away on drop.
#[derive(Debug)]
pub struct Site {
    endpoint: String,
    _directory: Option<TempDir>,
}

impl Site {
    /// A fresh place: a path where nothing is, or any free port.
    ///
    /// # Errors
    ///
    /// If no temporary directory can be made.
    pub fn new(carrier: Carrier) -> Result<Self, Failure> {
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

    /// What to listen on. Clients need the server's own endpoint, which has the port in it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
