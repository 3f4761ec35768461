//! The deadlines of the steps of one attempt.

use std::{fmt, future::Future, time::Duration};

use agentwire_transport::{Endpoint, internal::Mutex};
use tokio::time::{Instant, timeout_at};

use super::{
    failure::{Failure, connect_timed_out},
    outage::Outage,
};
use crate::{
    client::permits::{Permit, Permits},
    error::Phase,
};

/// The deadlines of the steps of one attempt.
///
/// Each deadline is computed at the beginning of its step, because it depends on the outcomes of
/// other calls.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct Deadlines<'a> {
    call: Instant,
    connect_timeout: Duration,
    target: Target<'a>,
}

/// The target of an attempt.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    /// A fixed endpoint.
    Fixed {
        window: &'a ConnectWindow,
        outage: &'a Outage,
    },
    /// An instance that was chosen from several instances.
    Candidate(&'a dyn Candidate),
}

/// The period in which one call may connect. The period covers all attempts and the delays between
/// attempts.
#[derive(Debug, Default)]
pub(in crate::client) struct ConnectWindow(Mutex<Option<Instant>>);

impl ConnectWindow {
    /// Returns the end of the window. Starts the window if it has not started.
    fn open(&self, timeout: Duration) -> Instant {
        let mut end = self.0.lock();
        *end.get_or_insert_with(|| Instant::now() + timeout)
    }

    /// Ends the window once the call is connected.
    fn close(&self) {
        *self.0.lock() = None;
    }

    /// Returns the end of the window, or `None` if the call is not connecting.
    pub(in crate::client) fn end(&self) -> Option<Instant> {
        *self.0.lock()
    }
}

/// The instance of a discovered agent that was chosen for an attempt.
pub(in crate::client) trait Candidate: fmt::Debug + Sync {
    /// Returns whether a connection to the instance has been opened since its last failure.
    fn is_reached(&self) -> bool;

    /// Returns whether the instance has failed since it was chosen.
    fn has_failed(&self) -> bool;
}

impl<'a> Deadlines<'a> {
    /// Creates the deadlines of an attempt to call a fixed endpoint.
    pub(in crate::client) fn for_endpoint(
        call: Instant,
        connect_timeout: Duration,
        window: &'a ConnectWindow,
        outage: &'a Outage,
    ) -> Self {
        Self {
            call,
            connect_timeout,
            target: Target::Fixed { window, outage },
        }
    }

    /// Creates the deadlines of an attempt to call an instance of a discovered agent.
    pub(in crate::client) fn for_candidate(
        call: Instant,
        connect_timeout: Duration,
        candidate: &'a dyn Candidate,
    ) -> Self {
        Self {
            call,
            connect_timeout,
            target: Target::Candidate(candidate),
        }
    }

    /// Returns the deadline of the whole call.
    pub(in crate::client) fn call(&self) -> Instant {
        self.call
    }

    /// Returns the deadline for acquiring a permit. If the instance may be unreachable, the wait is
    /// limited to the instance's share of the remaining time.
    fn queue_until(&self) -> Instant {
        match self.target {
            Target::Candidate(candidate) if !candidate.is_reached() => self.share(),
            _ => self.call,
        }
    }

    /// Returns the deadline for opening a connection.
    fn connect_until(&self) -> Instant {
        match self.target {
            Target::Candidate(_) => self.share(),
            Target::Fixed { window, .. } => self.call.min(window.open(self.connect_timeout)),
        }
    }

    /// Returns the end of this instance's share of the remaining time. The share is a third of the
    /// remaining time, so that the call can try other instances. The connect timeout also limits
    /// the share.
    fn share(&self) -> Instant {
        let now = Instant::now();
        let third = self.call.saturating_duration_since(now) / 3;
        if third < MIN_SHARE {
            self.call
        } else {
            now + third.min(self.connect_timeout)
        }
    }

    /// Returns an error if another call found the instance unreachable while this attempt was
    /// waiting.
    pub(in crate::client) fn check_candidate(&self) -> Result<(), Failure> {
        match self.target {
            Target::Candidate(candidate) if candidate.has_failed() => Err(Failure::not_connected()),
            _ => Ok(()),
        }
    }

    /// Acquires a permit, waiting until the deadline if necessary. If a permit is free, this method
    /// does not read the clock.
    pub(in crate::client) async fn acquire(&self, permits: &Permits) -> Result<Permit, Failure> {
        match permits.try_acquire() {
            Some(permit) => Ok(permit),
            None => timeout_at(self.queue_until(), permits.acquire())
                .await
                .map_err(|_| Failure::TimedOut(Phase::Queueing))?
                .ok_or(Failure::Closed { sent: false }),
        }
    }

    /// Waits for a connection attempt to finish, at most until its deadline.
    pub(in crate::client) async fn connect<T>(
        &self,
        endpoint: &Endpoint,
        connecting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let until = self.connect_until();
        let connected = match self.target {
            Target::Candidate(_) => timeout_at(until, connecting).await,
            Target::Fixed { window, outage } => {
                let connected = timeout_at(until, outage.observe(endpoint, connecting)).await;
                if let Ok(Ok(_)) = connected {
                    window.close();
                }
                connected
            }
        };
        match connected {
            Ok(connected) => connected,
            Err(_) if Instant::now() < self.call => {
                Err(Failure::Connect(connect_timed_out(endpoint)))
            }
            Err(_) => Err(Failure::TimedOut(Phase::Connecting)),
        }
    }
}

/// The minimum share of an instance. If a third of the remaining time is shorter than this minimum,
/// the instance may use all of the remaining time.
const MIN_SHARE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Instance {
        is_reached: bool,
    }

    impl Candidate for Instance {
        fn is_reached(&self) -> bool {
            self.is_reached
        }

        fn has_failed(&self) -> bool {
            !self.is_reached
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_only_endpoint_has_the_whole_time_of_the_call() {
        let now = Instant::now();
        let (window, outage) = Default::default();
        let end = now + 30 * SECOND;
        let deadlines = Deadlines::for_endpoint(end, 5 * SECOND, &window, &outage);
        assert_eq!(deadlines.queue_until(), now + 30 * SECOND);
        assert_eq!(deadlines.connect_until(), now + 5 * SECOND);
        // The next attempt of the same call has the same deadline.
        tokio::time::advance(3 * SECOND).await;
        assert_eq!(deadlines.connect_until(), now + 5 * SECOND);
        window.close();
        assert_eq!(deadlines.connect_until(), now + 8 * SECOND);
        let short = Deadlines::for_endpoint(now + SECOND, 5 * SECOND, &window, &outage);
        assert_eq!(short.connect_until(), now + SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_has_a_third_of_what_is_left() {
        let now = Instant::now();
        let (reached, unknown) = [true, false]
            .map(|is_reached| Instance { is_reached })
            .into();
        let at = |instance| Deadlines::for_candidate(now + 6 * SECOND, 3 * SECOND, instance);
        assert_eq!(at(&reached).queue_until(), now + 6 * SECOND);
        assert_eq!(at(&unknown).queue_until(), now + 2 * SECOND);
        assert_eq!(at(&reached).connect_until(), now + 2 * SECOND);
        tokio::time::advance(3 * SECOND).await;
        let third = now + 4 * SECOND;
        assert_eq!(at(&reached).connect_until(), third);
        let long = Deadlines::for_candidate(now + 300 * SECOND, 3 * SECOND, &reached);
        assert_eq!(long.connect_until(), now + 6 * SECOND);
        assert!(at(&unknown).check_candidate().is_err());
        assert!(at(&reached).check_candidate().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_that_reaches_its_own_limit_is_a_failed_connection() {
        let endpoint = Endpoint::custom("silent");
        let silent = || std::future::pending::<Result<(), Failure>>();
        let (window, outage) = Default::default();
        let end = Instant::now() + 6 * SECOND;
        let deadlines = Deadlines::for_endpoint(end, 5 * SECOND, &window, &outage);
        let failed = deadlines.connect(&endpoint, silent()).await;
        assert!(matches!(failed, Err(Failure::Connect(_))), "{failed:?}");
        window.close();
        let failed = deadlines.connect(&endpoint, silent()).await;
        let expected = matches!(failed, Err(Failure::TimedOut(Phase::Connecting)));
        assert!(expected, "{failed:?}");
    }
}
