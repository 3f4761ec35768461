//! The signals that stop a server: SIGINT and SIGTERM.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{CliError, Exit};

/// The signals that request the shutdown of a server. After `start`, they no longer terminate the
/// process.
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
    /// This method is cancel safe. A signal that has not been returned stays queued for the next
    /// call.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl StopSignals {
    /// Starts listening for signals.
    ///
    /// Call this function before the first write to standard output, because the reader may send a
    /// signal as soon as it reads a line.
    pub(crate) fn start() -> Result<Self, CliError> {
        Self::listen().map_err(|error| {
            CliError::from_error(Exit::Unreachable, &error).context("cannot listen for signals")
        })
    }

    /// Shuts down a server with `stop`, or with `abort` if another signal is received.
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

/// The signal that requests the shutdown of a server. On platforms other than Unix, this is only
/// Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct StopSignals(());

#[cfg(not(unix))]
impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(crate) async fn next(&mut self) {
        // If the handler cannot be installed, Ctrl-C still terminates the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
