//! The `drive` command, which runs one client process.

use std::time::Duration;

use agentwire::Endpoint;
use clap::Args;

use crate::{
    Allocations, BenchError, load::End, peer::Peer, peers, shape::Shape, workload::Workload,
};

#[derive(Args)]
pub(crate) struct DriveArgs {
    peer: Peer,
    endpoint: Endpoint,
    #[command(flatten)]
    shape: Shape,
    /// The duration of the measurement in seconds; the warm-up takes an additional fifth of it
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// The number of calls that each caller makes, instead of --seconds
    #[arg(long)]
    calls: Option<u64>,
    /// The number of warm-up calls that each caller makes
    #[arg(long)]
    warm_up_calls: Option<u64>,
    /// Print READY after the warm-up, wait for a line before the measurement, and exit when
    /// standard input is closed
    #[arg(long)]
    held: bool,
}

impl DriveArgs {
    pub(crate) fn run(self, allocations: Allocations) -> Result<(), BenchError> {
        let runtime = self.peer.runtime()?;
        let duration = Duration::from_secs_f64(self.seconds);
        let warm_up = self
            .warm_up_calls
            .map_or(End::After(duration / 5), End::Calls);
        let measurement = self.calls.map_or(End::After(duration), End::Calls);
        let mut workload = Workload::new(self.shape, warm_up, measurement, self.held, allocations);
        let driven = runtime.block_on(peers::drive(self.peer, &self.endpoint, &mut workload));
        // Dropping the runtime would block on the thread that reads standard input.
        runtime.shutdown_background();
        driven
    }
}
