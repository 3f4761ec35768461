//! When a call is tried again.

use std::time::Duration;

use agentwire_transport::internal::{Backoff, MAX_TIMEOUT};

/// When a call is tried again, and after what delay.
///
/// By default, connecting is tried again until the call's time is up, because nothing was sent: a
/// server that restarts goes unnoticed. An error that waiting cannot cure, such as a missing
/// permission, is returned at once. A request that was sent is never sent again, because the agent
/// may have processed it; [`resend`](Self::resend) allows that for agents to which it does no harm.
///
/// The delays double up to a maximum. Each is shortened at random by up to a half, so that many
/// clients do not retry at the same moment.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{RemoteAgent, RetryPolicy};
///
/// let idempotent = RetryPolicy::new()
///     .resend(2)
///     .backoff(Duration::from_millis(50), Duration::from_secs(5));
/// let weather = RemoteAgent::builder("unix:///run/agents/weather.sock")
///     .retry(idempotent)
///     .build()?;
/// # Ok::<(), agentwire::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RetryPolicy {
    connect: bool,
    resends: u32,
    first: Duration,
    longest: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            connect: true,
            resends: 0,
            first: Duration::from_millis(20),
            longest: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// The default policy: connecting is tried again, sending is not.
    pub fn new() -> Self {
        Self::default()
    }

    /// A policy that tries nothing again: the first failure is the error.
    ///
    /// Even so, an idle connection that turns out to be closed before anything was sent is
    /// replaced, and a call to a discovered agent connects to one instance after the other until it
    /// reaches one.
    pub fn never() -> Self {
        Self {
            connect: false,
            ..Self::default()
        }
    }

    /// Sends a request again, up to `times` times, if its connection ended before the answer, or if
    /// the answer is `AGENT_UNAVAILABLE`. Default: 0. A stream is sent again only before its first
    /// chunk.
    ///
    /// The agent may process one request several times, so it should be idempotent.
    pub fn resend(mut self, times: u32) -> Self {
        self.resends = times;
        self
    }

    /// The first delay and the longest, of at least 1 ms. Default: 20 ms and 2 s.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first.clamp(Duration::from_millis(1), MAX_TIMEOUT);
        self.longest = longest.clamp(self.first, MAX_TIMEOUT);
        self
    }

    /// Returns whether connecting is tried again.
    pub(super) fn retries_connect(&self) -> bool {
        self.connect
    }

    /// Returns how often a request is sent again.
    pub(super) fn resends(&self) -> u32 {
        self.resends
    }

    /// Returns the delays between attempts.
    pub(super) fn delays(&self) -> Backoff {
        Backoff::new(self.first, self.longest)
    }
}
