use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// The signals that ask a server to stop. From `listen` on they no longer kill the process.
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

    /// Waits for the next one. Cancel safe: a signal that came is kept for the next call.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

impl StopSignals {
    /// To be called before the first word on standard output: whoever reads it may send a signal at once.
    pub(crate) fn start() -> Result<Self, Failure> {
        Self::listen().map_err(|error| {
            Failure::from_error(Exit::Unreachable, &error).while_doing("cannot wait for signals")
        })
    }

    /// Stops a server, gracefully unless another signal comes.
    pub(crate) async fn stop(
        &mut self,
        stop: impl Future<Output = ()>,
        abort: impl Future<Output = ()>,
    ) {
        tracing::info!("stopping once all calls in flight are answered");
        tokio::select! {
            () = stop => {}
            () = self.next() => {
                tracing::info!("dropping the calls in flight");
                abort.await;
            }
        }
        tracing::info!("stopped");
    }
}

/// Elsewhere there is Ctrl-C only.
#[cfg(not(unix))]
pub(crate) struct StopSignals(());

#[cfg(not(unix))]
impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(crate) async fn next(&mut self) {
        // Without a handler there is nothing to wait for, and Ctrl-C kills as it always does.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
