//! The `serve` command, which runs one server process.

use agentwire::Endpoint;
use clap::Args;

use crate::{Allocations, BenchError, peer::Peer, peers, server_control::ServerControl};

#[derive(Args)]
pub(crate) struct ServeArgs {
    peer: Peer,
    endpoint: Endpoint,
}

impl ServeArgs {
    pub(crate) fn run(self, allocations: Allocations) -> Result<(), BenchError> {
        let runtime = self.peer.runtime()?;
        let control = ServerControl::new(allocations);
        let served = runtime.block_on(peers::serve(self.peer, &self.endpoint, control));
        // Dropping the runtime would block on the thread that reads standard input.
        runtime.shutdown_background();
        served
    }
}
