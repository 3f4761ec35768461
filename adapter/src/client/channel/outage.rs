//! Logs when a server becomes unreachable and when it can be reached again.

use std::{future::Future, pin::pin, time::Duration};

use agentwire_transport::{
    Endpoint, Error as TransportError,
    internal::{Chain, Mutex},
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::failure::{Failure, connect_timed_out, is_transient};

/// The period in which the server at one endpoint cannot be reached.
///
/// All calls of a client share this record, so the start of an outage is logged only once. The
/// start is logged after [`WARN_AFTER`]. The end of an outage is logged if its start was logged.
#[derive(Debug, Default)]
pub(in crate::client) struct Outage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The time at which the first failed connection attempt began, or `None` if the server can be
    /// reached.
    since: Option<Instant>,
    is_logged: bool,
}

impl State {
    /// Returns the time at which the outage must be logged, or `None` if the outage has already
    /// been logged.
    fn due(&self, began: Instant) -> Option<Instant> {
        let due = self.since.map(|since| since + WARN_AFTER);
        // If the outage started long ago without any call waiting, the time is measured from the
        // start of the current attempt.
        let due = due.filter(|&due| due > began);
        (!self.is_logged).then(|| due.unwrap_or(began + WARN_AFTER))
    }

    /// Records that an attempt has failed or is still waiting. If the outage must be logged now,
    /// returns its duration.
    fn unreached(&mut self, began: Instant, now: Instant) -> Option<Duration> {
        let lasted = now - *self.since.get_or_insert(began);
        let is_due = !self.is_logged && lasted >= WARN_AFTER;
        self.is_logged |= is_due;
        is_due.then_some(lasted)
    }

    /// Records that the server has been reached. If the start of the outage was logged, returns its
    /// duration.
    fn reached(&mut self, now: Instant) -> Option<Duration> {
        let since = self.since.take();
        let was_logged = std::mem::take(&mut self.is_logged);
        since.filter(|_| was_logged).map(|since| now - since)
    }
}

impl Outage {
    /// Runs a connection attempt, and logs the start and the end of an outage.
    pub(super) async fn observe<T>(
        &self,
        endpoint: &Endpoint,
        connecting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let due = self.0.lock().due(began);
        let mut connecting = pin!(connecting);
        let result = match due {
            Some(due) => match timeout_at(due, &mut connecting).await {
                Ok(result) => result,
                Err(_) => {
                    self.unreached(endpoint, began, &connect_timed_out(endpoint));
                    connecting.await
                }
            },
            None => connecting.await,
        };
        match &result {
            Ok(_) => {
                if let Some(outage) = self.0.lock().reached(Instant::now()) {
                    tracing::info!(%endpoint, ?outage, "server can be reached again");
                }
            }
            Err(Failure::Connect(error)) if is_transient(error) => {
                self.unreached(endpoint, began, error);
            }
            Err(_) => {}
        }
        result
    }

    /// Waits before the next connection attempt. The previous attempt failed with `error`.
    pub(in crate::client) async fn pause(
        &self,
        endpoint: &Endpoint,
        delay: Duration,
        error: &TransportError,
    ) {
        let now = Instant::now();
        let end = now + delay;
        let due = self.0.lock().due(now).filter(|&due| due < end);
        if let Some(due) = due {
            sleep_until(due).await;
            self.unreached(endpoint, now, error);
        }
        sleep_until(end).await;
    }

    fn unreached(&self, endpoint: &Endpoint, began: Instant, error: &TransportError) {
        let waited = self.0.lock().unreached(began, Instant::now());
        if let Some(waited) = waited {
            let error = Chain(error);
            tracing::warn!(%endpoint, %error, ?waited, "server cannot be reached; waiting for it");
        }
    }
}

/// The time after which a call that is waiting for a server logs a warning.
const WARN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_logged_after_a_second_and_once() {
        let start = Instant::now();
        let mut state = State::default();
        assert_eq!(state.due(start), Some(start + SECOND));
        assert_eq!(state.unreached(start, start + SECOND / 2), None);
        let again = start + SECOND / 2;
        assert_eq!(state.due(again), Some(start + SECOND));
        assert_eq!(state.unreached(again, start + SECOND), Some(SECOND));
        assert_eq!(state.unreached(again, start + 9 * SECOND), None);
        assert_eq!(state.due(again), None);
        assert_eq!(state.reached(start + 10 * SECOND), Some(10 * SECOND));
        assert_eq!(state.reached(start + 11 * SECOND), None);
    }

    #[test]
    fn a_short_outage_is_not_logged_and_neither_is_its_end() {
        let start = Instant::now();
        let mut state = State::default();
        assert_eq!(state.unreached(start, start), None);
        assert_eq!(state.reached(start + SECOND / 2), None);
        assert_eq!(state.unreached(start + SECOND, start + SECOND), None);
    }

    #[test]
    fn an_attempt_long_after_a_failure_has_a_second_of_its_own() {
        let start = Instant::now();
        let mut state = State::default();
        state.unreached(start, start);
        let later = start + 3600 * SECOND;
        assert_eq!(state.due(later), Some(later + SECOND));
        assert_eq!(state.unreached(later, later), Some(3600 * SECOND));
    }
}
