use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::exit::{Exit, Failure};

/// Runs a client: one call at a time has no use for threads.
pub(crate) fn run_client<T>(
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    run(Builder::new_current_thread().enable_all().build(), future)
}

/// Runs a server, or many calls at a time, on as many threads as there are processors.
pub(crate) fn run_server<T>(
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    run(Builder::new_multi_thread().enable_all().build(), future)
}

fn run<T>(
    runtime: io::Result<Runtime>,
    future: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let runtime = runtime.map_err(|error| {
        Failure::from_error(Exit::Unreachable, &error).while_doing("cannot start the runtime")
    })?;
    let result = runtime.block_on(future);
    // Dropping it would wait for a name lookup that has long timed out.
    runtime.shutdown_background();
    result
}
