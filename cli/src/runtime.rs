use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::exit::{Exit, Failure};

/// Runs a client: one call at a time has no use for threads.
pub(crate) fn run_client(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run(Builder::new_current_thread().enable_all().build(), future)
}

/// Runs a server, on as many threads as there are processors.
pub(crate) fn run_server(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run(Builder::new_multi_thread().enable_all().build(), future)
}

fn run(
    runtime: io::Result<Runtime>,
    future: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = runtime.map_err(|error| {
        Failure::from_error(Exit::Unreachable, &error).while_doing("cannot start the runtime")
    })?;
    let result = runtime.block_on(future);
    // Dropping it would wait for a name lookup that has long timed out.
    runtime.shutdown_background();
    result
}
