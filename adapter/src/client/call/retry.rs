//! The remaining retries of one call.

use std::time::Duration;

use agentwire_codec::{Body, ErrorCode, WireError};
use agentwire_transport::{
    Error as TransportError,
    internal::{Backoff, MAX_TIMEOUT},
};

use crate::{
    Error,
    client::{
        channel::failure::{Failure, is_transient},
        retry_policy::RetryPolicy,
    },
    error::is_unstarted,
};

/// The remaining retries of a call.
#[derive(Debug)]
pub(super) struct RetryBudget {
    connect: bool,
    /// Whether a connection has already ended before the request of this call was written.
    has_been_unsent: bool,
    resends: u32,
    backoff: Backoff,
    /// The error of the last attempt whose request the agent may have seen.
    last_sent: Option<Error>,
    /// The error of the last attempt that could not connect.
    last_connect: Option<TransportError>,
}

impl RetryBudget {
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        Self {
            connect: policy.retries_connect(),
            has_been_unsent: false,
            resends: policy.resends(),
            backoff: policy.delays(),
            last_sent: None,
            last_connect: None,
        }
    }

    /// Stores the error of an attempt whose request the agent may have seen. If no later attempt
    /// reaches the agent, the call fails with the stored error.
    pub(super) fn keep(&mut self, error: Error) {
        self.last_sent = Some(error);
    }

    /// Takes the stored error of the last attempt whose request the agent may have seen.
    pub(super) fn take_last_sent(&mut self) -> Option<Error> {
        self.last_sent.take()
    }

    /// Stores the error of an attempt that could not connect.
    pub(super) fn keep_connect(&mut self, error: TransportError) {
        self.last_connect = Some(error);
    }

    /// Takes the stored error of the last attempt that could not connect.
    pub(super) fn take_last_connect(&mut self) -> Option<TransportError> {
        self.last_connect.take()
    }

    /// Returns the delay before the next attempt, or `None` if the call must not be retried.
    pub(super) fn delay_after(&mut self, attempt: &Result<Body, Failure>) -> Option<Duration> {
        match attempt {
            Ok(Body::Error(error)) if is_unstarted(error) => self.unsent(),
            // No agent has seen the request, but only a policy with resends expects delays.
            Ok(Body::Error(error))
                if error.code == ErrorCode::AGENT_UNAVAILABLE
                    || error.code == ErrorCode::RATE_LIMITED =>
            {
                self.resend().map(|delay| delay.max(retry_after(error)))
            }
            Err(Failure::Connect(error)) => self.connect(error),
            // Do not retry, because the answer to a second request would also be too large or use
            // another protocol.
            Err(Failure::Broken(Some(error))) if error.is_refusal() => None,
            Err(Failure::Broken(_)) => self.resend(),
            Err(Failure::Unsent(_)) => self.unsent(),
            _ => None,
        }
    }

    fn connect(&mut self, error: &TransportError) -> Option<Duration> {
        (self.connect && is_transient(error)).then(|| self.backoff.next_delay())
    }

    /// Returns the delay before the next attempt if the agent has not seen the request. Either the
    /// connection ended before the request was written, or the server refused the request before
    /// it started the request.
    ///
    /// Every policy allows one immediate retry, because a server may close an idle connection just
    /// as a call begins to use it.
    fn unsent(&mut self) -> Option<Duration> {
        if std::mem::replace(&mut self.has_been_unsent, true) {
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

/// Returns the time after which a server with a quota or a full queue accepts the request.
fn retry_after(error: &WireError) -> Duration {
    let millis = error
        .details
        .get("retry_after_ms")
        .and_then(|millis| millis.as_u64());
    Duration::from_millis(millis.unwrap_or(0)).min(MAX_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind};

    use agentwire_codec::Map;
    use agentwire_transport::Endpoint;

    use super::*;

    fn failed(kind: ErrorKind) -> TransportError {
        TransportError::Connect {
            endpoint: Endpoint::custom("test"),
            source: io::Error::from(kind),
        }
    }

    #[test]
    fn delays_double_up_to_the_longest_and_are_shortened_by_half_at_most() {
        let policy =
            RetryPolicy::new().backoff(Duration::from_millis(8), Duration::from_millis(100));
        for _ in 0..100 {
            let mut retries = RetryBudget::new(&policy);
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
    fn only_transient_failures_are_retried() {
        let mut retries = RetryBudget::new(&RetryPolicy::new());
        assert!(retries.connect(&failed(ErrorKind::NotFound)).is_some());
        assert!(
            retries
                .connect(&failed(ErrorKind::PermissionDenied))
                .is_none()
        );
        assert!(retries.resend().is_none());
        let mut never = RetryBudget::new(&RetryPolicy::never());
        assert!(never.connect(&failed(ErrorKind::NotFound)).is_none());
        let mut twice = RetryBudget::new(&RetryPolicy::never().resend(2));
        assert!(twice.resend().is_some() && twice.resend().is_some());
        assert!(twice.resend().is_none());
    }

    #[test]
    fn a_request_that_no_agent_has_seen_is_sent_again_under_every_policy() {
        let refusal = |reason: &str| {
            let error = WireError::new(ErrorCode::AGENT_UNAVAILABLE, "later");
            Ok(Body::Error(
                error.with_details(Map::from([("reason", reason)])),
            ))
        };
        for reason in ["stopping", "memory"] {
            let refusal = refusal(reason);
            let mut never = RetryBudget::new(&RetryPolicy::never());
            assert_eq!(never.delay_after(&refusal), Some(Duration::ZERO));
            assert_eq!(never.delay_after(&refusal), None);
            let mut retries = RetryBudget::new(&RetryPolicy::new());
            assert!((0..3).all(|_| retries.delay_after(&refusal).is_some()));
        }
        for reason in ["busy", "quota", "unavailable", ""] {
            let mut retries = RetryBudget::new(&RetryPolicy::new());
            assert_eq!(retries.delay_after(&refusal(reason)), None);
        }
    }

    #[test]
    fn extreme_durations_do_not_overflow() {
        let policy = RetryPolicy::new().backoff(Duration::MAX, Duration::ZERO);
        let mut retries = RetryBudget::new(&policy);
        assert!(retries.connect(&failed(ErrorKind::NotFound)).is_some());
    }
}
