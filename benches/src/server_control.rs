//! Control of a server process by its parent process.

use agentwire::Endpoint;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{Allocations, BenchError, process::print_line};

/// The server side of the communication with the parent process over standard input and output.
pub(crate) struct ServerControl {
    allocations: Allocations,
}

impl ServerControl {
    pub(crate) fn new(allocations: Allocations) -> Self {
        Self { allocations }
    }

    /// Prints READY and the endpoint, and then answers each line from standard input with the
    /// number of allocations until EOF.
    pub(crate) async fn run(self, endpoint: &Endpoint) -> Result<(), BenchError> {
        print_line(&format!("READY {endpoint}"))?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while lines.next_line().await?.is_some() {
            let count = self.allocations.map(|count| count());
            print_line(&serde_json::to_string(&count)?)?;
        }
        Ok(())
    }

    /// Runs like [`run`](Self::run), concurrently with an accept loop. The accept loop ends only
    /// with an error.
    pub(crate) async fn run_beside(
        self,
        endpoint: &Endpoint,
        accept: impl Future<Output = Result<(), BenchError>>,
    ) -> Result<(), BenchError> {
        tokio::select! {
            accepted = accept => accepted,
            ended = self.run(endpoint) => ended,
        }
    }
}
