use agentwire::Endpoint;
use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::{Allocations, Failure, peers::Peer, process::say};

#[derive(Args)]
pub(crate) struct ServeArgs {
    peer: Peer,
    endpoint: Endpoint,
}

impl ServeArgs {
    pub(crate) fn run(self, allocations: Allocations) -> Result<(), Failure> {
        let runtime = self.peer.runtime()?;
        let attendant = Attendant { allocations };
        let served = runtime.block_on(self.peer.serve(&self.endpoint, attendant));
        // The thread that reads standard input would be waited for.
        runtime.shutdown_background();
        served
    }
}

/// What a server does for the process that started it.
pub(crate) struct Attendant {
    allocations: Allocations,
}

impl Attendant {
    /// Says where the server listens. Answers each line with the count of allocations, until standard input ends.
    pub(crate) async fn attend(self, endpoint: &Endpoint) -> Result<(), Failure> {
        say(&format!("READY {endpoint}"))?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while lines.next_line().await?.is_some() {
            let count = self.allocations.map(|count| count());
            say(&serde_json::to_string(&count)?)?;
        }
        Ok(())
    }

    /// The same beside a loop that accepts connections, which ends only if it fails.
    pub(crate) async fn attend_while(
        self,
        endpoint: &Endpoint,
        accept: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        tokio::select! {
            accepted = accept => accepted,
            ended = self.attend(endpoint) => ended,
        }
    }
}
