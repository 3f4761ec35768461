//! SIGINT and SIGTERM.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{CliError, Exit};

/// The signals that ask a server to shut down. After `start` they no longer kill the process.
#[cfg(unix)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

#[cfg(unix)]
impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    ///
    /// Cancel safe: a pending signal stays queued for the next call.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl StopSignals {
    /// Starts to listen for signals.
    ///
    /// Call this before the first write to standard output: the reader may send a signal as soon as
    /// it sees a line.
    pub(crate) fn start() -> Result<Self, CliError> {
        Self::listen().map_err(|error| {
            CliError::from_error(Exit::Unreachable, &error).context("cannot listen for signals")
        })
    }

    /// Shuts a server down with `stop`, and with `abort` if another signal arrives.
    pub(crate) async fn stop(
        &mut self,
        stop: impl Future<Output = ()>,
        abort: impl Future<Output = ()>,
    ) {
        tracing::info!("shutting down; waiting for calls in flight");
        tokio::select! {
            () = stop => {}
            () = self.next() => {
                tracing::info!("second signal received; aborting calls in flight");
                abort.await;
            }
        }
        tracing::info!("shutdown complete");
    }
}

/// Ctrl-C, the only such signal on platforms other than Unix.
#[cfg(not(unix))]
pub(crate) struct StopSignals(());

#[cfg(not(unix))]
impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(crate) async fn next(&mut self) {
        // If the handler cannot be installed, Ctrl-C still kills the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
