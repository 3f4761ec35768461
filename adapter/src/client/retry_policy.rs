//! The retry policy of a call: [`RetryPolicy`].

use std::time::Duration;

use agentwire_transport::internal::{Backoff, MAX_TIMEOUT};

/// A policy that decides whether and when a call is retried.
///
/// By default, connecting is retried until the [connect
/// timeout](crate::RemoteAgentBuilder::connect_timeout) or the deadline of the call, so calls
/// survive a restart of the server. Retrying a connection is safe, because no request has been
/// sent. Errors that are not transient, such as a missing permission, are returned at once.
///
/// By default, a request that the agent may have processed is not sent again. Use
/// [`resend`](Self::resend) for agents that can safely process a request twice.
///
/// The delays double up to a maximum. Each delay is randomly shortened by up to one half, so that
/// clients do not all retry at the same time.
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
    /// Creates the default policy, which retries connecting but never sends a request again.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a policy that never retries: the first failure is returned as the error.
    ///
    /// There are three exceptions. If an idle connection ends before the request was written, the
    /// request is sent on another connection. If a server refuses a request because the server is
    /// stopping or has no memory, the request is sent once more. A call to a discovered agent tries
    /// one instance after another until the call reaches an instance.
    pub fn never() -> Self {
        Self {
            connect: false,
            ..Self::default()
        }
    }

    /// Sets how many times a request is sent again if the connection ends before the answer
    /// arrives, or if the answer is `AGENT_UNAVAILABLE`. The default is 0. A streaming request is
    /// never sent again after the first chunk has arrived.
    ///
    /// The agent may then process a request several times, so the request should be idempotent.
    pub fn resend(mut self, times: u32) -> Self {
        self.resends = times;
        self
    }

    /// Sets the first and the longest delay. The defaults are 20 ms and 2 s. The minimum for both
    /// delays is 1 ms.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first.clamp(Duration::from_millis(1), MAX_TIMEOUT);
        self.longest = longest.clamp(self.first, MAX_TIMEOUT);
        self
    }

    /// Returns whether connecting is retried.
    pub(super) fn retries_connect(&self) -> bool {
        self.connect
    }

    /// Returns how many times a request may be sent again.
    pub(super) fn resends(&self) -> u32 {
        self.resends
    }

    /// Returns the delays between attempts.
    pub(super) fn delays(&self) -> Backoff {
        Backoff::new(self.first, self.longest)
    }
}
