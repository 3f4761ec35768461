//! The tokio runtimes of the commands.

use std::io;

use tokio::runtime::{Builder, Runtime};

use crate::{
    auth_args,
    exit::{CliError, Exit},
    signals::StopSignals,
};

/// Runs a client on the current thread. A single call does not benefit from worker threads.
pub(crate) fn run_client<T>(
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    run(runtime, async {
        // Linux does not kill process 1, the first process of a container, by a signal that the
        // process does not handle.
        if std::process::id() != 1 {
            return future.await;
        }
        let mut signals = StopSignals::start()?;
        tokio::select! {
            result = future => result,
            () = signals.next() => Err(CliError::new(Exit::Unreachable, "stopped by a signal")),
        }
    })
}

/// Runs a server or many concurrent calls with one worker thread per CPU.
pub(crate) fn run_server<T>(
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let result = run(Builder::new_multi_thread().enable_all().build(), future);
    auth_args::close_audit();
    result
}

fn run<T>(
    runtime: io::Result<Runtime>,
    future: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let runtime = runtime.map_err(|error| {
        CliError::from_error(Exit::Unreachable, &error).context("cannot start the async runtime")
    })?;
    let result = runtime.block_on(future);
    // Dropping the runtime would block on DNS lookups that have already timed out.
    runtime.shutdown_background();
    result
}
