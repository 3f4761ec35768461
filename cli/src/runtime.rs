//! The tokio runtimes of the commands.

use std::{io, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

use crate::{
    auth_args,
    exit::{CliError, Exit},
    output,
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

/// Runs a client that prints one line after another, like [`run_client`]. The client ends with the
/// reader of its output, also while it has nothing to print.
pub(crate) fn run_follower(
    future: impl Future<Output = Result<(), CliError>>,
) -> Result<(), CliError> {
    run_client(async {
        tokio::select! {
            result = future => result,
            () = lost_reader() => Err(CliError::Silent),
        }
    })
}

/// Waits until the reader of standard output has closed its end.
async fn lost_reader() {
    while !output::has_lost_reader() {
        sleep(READER_INTERVAL).await;
    }
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

/// The interval at which to check whether the reader has closed its end.
const READER_INTERVAL: Duration = Duration::from_millis(250);
