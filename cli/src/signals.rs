//! The signals that stop a program: SIGINT, SIGTERM, SIGHUP and SIGQUIT.

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
    quit: Signal,
    /// `None` if the parent ignores hangups, as `nohup` does.
    hangup: Option<Signal>,
}

#[cfg(unix)]
impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            hangup: if ignores_hangup() {
                None
            } else {
                Some(signal(SignalKind::hangup())?)
            },
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
            _ = self.quit.recv() => {}
            () = hangup(self.hangup.as_mut()) => {}
        }
    }
}

#[cfg(unix)]
async fn hangup(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Returns whether the program was started with SIGHUP ignored. Systems other than Linux have no
/// safe function that tells.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignores_first_signal(&status)
}

/// Returns whether signal 1, SIGHUP, is ignored, according to the text of `/proc/self/status`.
#[cfg(unix)]
fn ignores_first_signal(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status = |mask: &str| format!("SigBlk:\t0000000000000001\nSigIgn:\t{mask}\n");
        assert!(ignores_first_signal(&status("0000000000001001")));
        assert!(!ignores_first_signal(&status("0000000000001000")));
        assert!(!ignores_first_signal(""));
    }
}
