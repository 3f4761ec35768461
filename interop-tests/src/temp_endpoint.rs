//! Endpoints for the servers of a single test.

use tempfile::TempDir;

use crate::TestFailure;

/// The carrier for the connections of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// A Unix socket in a separate temporary directory.
    Unix,
    /// TCP on the loopback interface.
    Tcp,
    /// WebSocket on the loopback interface.
    WebSocket,
    /// HTTP/1.1 on the loopback interface.
    Http,
    /// HTTP/2 without TLS on the loopback interface.
    H2c,
    /// gRPC on the loopback interface.
    Grpc,
}

/// An unused endpoint for a server. Dropping the value removes its temporary directory.
#[derive(Debug)]
pub struct TempEndpoint {
    endpoint: String,
    _directory: Option<TempDir>,
}

impl TempEndpoint {
    /// Creates an endpoint, which is an unused socket path or port 0.
    ///
    /// # Errors
    ///
    /// Returns an error if the temporary directory cannot be created.
    pub fn new(carrier: Carrier) -> Result<Self, TestFailure> {
        Ok(match carrier {
            Carrier::Unix => {
                let directory = tempfile::tempdir()?;
                Self {
                    endpoint: format!("unix://{}/agent.sock", directory.path().display()),
                    _directory: Some(directory),
                }
            }
            Carrier::Tcp => Self::on_loopback("tcp"),
            Carrier::WebSocket => Self::on_loopback("ws"),
            Carrier::Http => Self::on_loopback("http"),
            Carrier::H2c => Self::on_loopback("h2c"),
            Carrier::Grpc => Self::on_loopback("grpc"),
        })
    }

    fn on_loopback(scheme: &str) -> Self {
        Self {
            endpoint: format!("{scheme}://127.0.0.1:0"),
            _directory: None,
        }
    }

    /// Returns the endpoint to listen on. Clients must use the endpoint of the running server
    /// instead, because it contains the chosen port.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}
