//! The option `--wait`, which waits for a server that does not listen.

use std::{io::ErrorKind, time::Duration};

use agentwire::{Error, transport};
use clap::Args;
use tokio::time::{Instant, sleep};

use crate::timeout::parse_timeout;

/// The option `--wait`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitArgs {
    /// Wait up to this long for a server that is not there: nothing listens, the host name does not
    /// resolve, or nothing is registered under the name
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout)]
    wait: Option<Duration>,
}

impl WaitArgs {
    pub(crate) fn is_given(self) -> bool {
        self.wait.is_some()
    }

    /// Starts the time to wait.
    pub(crate) fn start(self) -> Waiting {
        Waiting {
            // `None` if the deadline is too far away to be represented.
            deadline: self.wait.map(|wait| Instant::now().checked_add(wait)),
            delay: FIRST_DELAY,
        }
    }

    /// Repeats an operation until the server is there.
    pub(crate) async fn until_present<T>(
        self,
        mut operation: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut waiting = self.start();
        loop {
            match operation().await {
                Err(error) if waiting.may_retry(&error).await => {}
                result => return result,
            }
        }
    }
}

/// The remaining time to wait for a server.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// `None` without `--wait`.
    deadline: Option<Option<Instant>>,
    /// The time before the next attempt.
    delay: Duration,
}

impl Waiting {
    /// Returns whether to call again. If the server is absent and the time is not over, sleeps
    /// first.
    pub(crate) async fn may_retry(&mut self, error: &Error) -> bool {
        let Some(deadline) = self.deadline else {
            return false;
        };
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) || !is_absent(error) {
            return false;
        }
        tracing::debug!(
            error = format!("{error:#}"),
            "server is absent; waiting for it"
        );
        sleep(left.map_or(self.delay, |left| left.min(self.delay))).await;
        self.delay = (self.delay * 2).min(MAX_DELAY);
        true
    }
}

/// Returns whether the error means that the server is not there, or not reachable by now. Nothing
/// was sent in this case.
fn is_absent(error: &Error) -> bool {
    match error {
        Error::ConnectionFailed { source, .. } => is_absent_listener(source),
        Error::Unreachable { source, .. } => source.as_ref().is_none_or(is_absent_listener),
        Error::NotRegistered { .. } => true,
        Error::Registry { source, .. } => source.is_retryable(),
        Error::Timeout { .. } | Error::ConnectionClosed { .. } => !error.was_sent(),
        _ => false,
    }
}

fn is_absent_listener(error: &transport::Error) -> bool {
    // Every failure to connect may pass, such as that of a lookup, unless the user must act.
    matches!(error, transport::Error::Connect { source, .. } if !matches!(
        source.kind(),
        ErrorKind::PermissionDenied | ErrorKind::InvalidInput | ErrorKind::Unsupported
    ))
}

/// The delay after the first attempt. A local server listens a few milliseconds after its start.
const FIRST_DELAY: Duration = Duration::from_millis(10);

const MAX_DELAY: Duration = Duration::from_millis(250);
