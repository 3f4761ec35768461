use std::{io::ErrorKind, time::Duration};

use agentwire_codec::{Body, ErrorCode, FrameError};
use agentwire_transport::{
    Error as TransportError,
    internal::{Backoff, MAX_TIMEOUT},
};

use super::attempt::Failure;
use crate::Error;

/// When a call is tried again, and after how long.
///
/// By default a connection that cannot be made is tried again until the call's time is up, because nothing
/// was sent: a server that is being restarted goes unnoticed. (What waiting cannot mend, such as a missing
/// permission, is an error at once.) What was sent is never sent again, because
/// the agent may have worked on it; [`resend`](Self::resend) allows that for agents to which it does no
/// harm.
///
/// The waits double from `first` to `longest`. Each is shortened at random by up to a half, so that
/// many clients do not come back at the same moment.
///
/// ```
/// use std::time::Duration;
///
/// use agentwire::{RemoteAgent, RetryPolicy};
///
/// let idempotent = RetryPolicy::new().resend(2).backoff(Duration::from_millis(50), Duration::from_secs(5));
/// let weather = RemoteAgent::builder("unix:///run/agents/weather.sock").retry(idempotent).build()?;
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
    /// The default: connecting is tried again, sending is not.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is tried again: whatever fails first is the error. Only a kept connection that turns out to be
    /// gone before anything was sent is replaced, and each instance of an agent that is called by name is connected to
    /// until one is reached.
    pub fn never() -> Self {
        Self {
            connect: false,
            ..Self::default()
        }
    }

    /// Sends a request again, up to so many times, if its connection ended before the answer, or the answer is
    /// `AGENT_UNAVAILABLE`. Default: 0. A stream is sent again only before its first chunk.
    ///
    /// The agent may then work on one request several times: this is for agents that are idempotent.
    pub fn resend(mut self, times: u32) -> Self {
        self.resends = times;
        self
    }

    /// The first wait and the longest, of 1 ms at least. Default: 20 ms and 2 s.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first.clamp(Duration::from_millis(1), MAX_TIMEOUT);
        self.longest = longest.clamp(self.first, MAX_TIMEOUT);
        self
    }

    /// True if connecting is tried again.
    pub(super) fn connects_again(&self) -> bool {
        self.connect
    }

    /// The waits between attempts.
    pub(super) fn waits(&self) -> Backoff {
        Backoff::new(self.first, self.longest)
    }

    pub(super) fn start(&self) -> Retries {
        Retries {
            connect: self.connect,
            unsent: false,
            resends: self.resends,
            backoff: self.waits(),
            kept: None,
        }
    }
}

/// What is left of a policy during one call.
#[derive(Debug)]
pub(super) struct Retries {
    connect: bool,
    /// A connection had ended before anything left, once.
    unsent: bool,
    resends: u32,
    backoff: Backoff,
    /// What became of the last attempt that may have been seen.
    kept: Option<Error>,
}

impl Retries {
    /// Remembers what became of an attempt that the agent may have seen: if no later one gets as far, it is told.
    pub(super) fn keep(&mut self, error: Error) {
        self.kept = Some(error);
    }

    pub(super) fn kept(&mut self) -> Option<Error> {
        self.kept.take()
    }

    /// After how long to try again what has come to this, if at all.
    pub(super) fn after(&mut self, attempt: &Result<Body, Failure>) -> Option<Duration> {
        match attempt {
            Ok(Body::Error(error)) if error.code == ErrorCode::AGENT_UNAVAILABLE => self.resend(),
            Err(Failure::Connect(error)) => self.connect(error),
            // Its answer would be too large again.
            Err(Failure::Broken(Some(FrameError::TooLarge { .. }))) => None,
            Err(Failure::Broken(_)) => self.resend(),
            Err(Failure::Unsent(_)) => self.unsent(),
            _ => None,
        }
    }

    /// True if connecting may go well later that has failed in this way.
    pub(super) fn is_worth_another(error: &TransportError) -> bool {
        is_transient(error)
    }

    fn connect(&mut self, error: &TransportError) -> Option<Duration> {
        (self.connect && is_transient(error)).then(|| self.backoff.next_delay())
    }

    /// Nothing left because the connection had just ended: at once, the first time.
    fn unsent(&mut self) -> Option<Duration> {
        if std::mem::replace(&mut self.unsent, true) {
            self.connect.then(|| self.backoff.next_delay())
        } else {
            Some(Duration::ZERO)
        }
    }

    fn resend(&mut self) -> Option<Duration> {
        self.resends = self.resends.checked_sub(1)?;
        Some(self.backoff.next_delay())
    }
}

/// True for what another attempt may find otherwise: a server that is not there yet, or is overrun.
fn is_transient(error: &TransportError) -> bool {
    let TransportError::Connect { source, .. } = error else {
        return false;
    };
    matches!(
        source.kind(),
        ErrorKind::NotFound
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::UnexpectedEof
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use agentwire_transport::Endpoint;

    use super::*;

    fn failed(kind: ErrorKind) -> TransportError {
        TransportError::Connect {
            endpoint: Endpoint::custom("test"),
            source: io::Error::from(kind),
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_shortened_by_half_at_most() {
        let policy =
            RetryPolicy::new().backoff(Duration::from_millis(8), Duration::from_millis(100));
        for _ in 0..100 {
            let mut retries = policy.start();
            for full in [8, 16, 32, 64, 100, 100] {
                let wait = retries
                    .connect(&failed(ErrorKind::ConnectionRefused))
                    .unwrap();
                let full = Duration::from_millis(full);
                assert!(wait <= full && wait >= full / 2, "{wait:?} of {full:?}");
            }
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let mut retries = RetryPolicy::new().start();
        assert!(retries.connect(&failed(ErrorKind::NotFound)).is_some());
        assert!(
            retries
                .connect(&failed(ErrorKind::PermissionDenied))
                .is_none()
        );
        assert!(retries.resend().is_none());
        let mut never = RetryPolicy::never().start();
        assert!(never.connect(&failed(ErrorKind::NotFound)).is_none());
        let mut twice = RetryPolicy::never().resend(2).start();
        assert!(twice.resend().is_some() && twice.resend().is_some());
        assert!(twice.resend().is_none());
    }

    #[test]
    fn odd_durations_do_no_harm() {
        let mut retries = RetryPolicy::new()
            .backoff(Duration::MAX, Duration::ZERO)
            .start();
        assert!(retries.connect(&failed(ErrorKind::NotFound)).is_some());
    }
}
