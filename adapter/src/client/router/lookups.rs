//! The registry lookups of an agent. Only one lookup runs at a time, and all waiting calls share
//! its result.

use std::time::Duration;

use agentwire_registry::RegistryError;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// The state of the lookups. Each lookup has a number.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    begun: u64,
    ended: u64,
    /// The number of the latest lookup for which a call is waiting.
    wanted: u64,
    began_at: Option<Instant>,
    /// The error of the last lookup, if it failed.
    failure: Option<RegistryError>,
    task: Option<AbortOnDropHandle<()>>,
}

/// A ticket for the result of a lookup.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookupTicket {
    /// The number of the first lookup whose result is recent enough for the call.
    number: u64,
    /// The number of the last lookup that ended before the call began to wait. The failure of any
    /// later lookup ends the wait of the call.
    after: u64,
    /// The time at which the call stops waiting and uses known instances, if there are any.
    pub(super) fallback_after: Instant,
}

/// The outcome of a lookup. The cache contains the registrations that the lookup returned.
pub(super) type LookupResult = Result<(), RegistryError>;

impl Lookups {
    /// Returns whether a lookup is running. A lookup whose runtime has shut down or is not running
    /// is ignored.
    pub(super) fn is_under_way(&self, now: Instant) -> bool {
        let is_alive = || self.task.as_ref().is_some_and(|task| !task.is_finished());
        let is_overdue = self.is_older_than(LOOKUP_TIMEOUT + LOOKUP_WAIT, now);
        self.ended < self.begun && !is_overdue && is_alive()
    }

    /// Returns whether the last lookup began at least `age` ago.
    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        self.began_at.is_none_or(|began| began + age <= now)
    }

    /// Starts a lookup and returns its number.
    pub(super) fn begin(&mut self, now: Instant) -> u64 {
        self.begun += 1;
        self.began_at = Some(now);
        self.begun
    }

    /// Stores the task that runs the current lookup.
    pub(super) fn keep(&mut self, task: Option<AbortOnDropHandle<()>>) {
        self.task = task;
    }

    /// Returns a ticket for the result of the current lookup.
    ///
    /// If `next` is true, the ticket is for the next lookup, because the current lookup may have
    /// started too early for the call.
    pub(super) fn ticket(&mut self, next: bool, deadline: Instant, now: Instant) -> LookupTicket {
        let number = self.begun + u64::from(next);
        self.wanted = self.wanted.max(number);
        let began = self.began_at.unwrap_or(now);
        let third = now + deadline.saturating_duration_since(now) / 3;
        let fallback_after = match self.failure {
            None => third.min(began + LOOKUP_WAIT),
            // If the last lookup failed, the current lookup will probably also fail, so the call
            // does not wait.
            Some(_) => now,
        };
        LookupTicket {
            number,
            after: self.ended,
            fallback_after,
        }
    }

    /// Returns the result for a ticket, or `None` if the lookup has not ended.
    pub(super) fn result(&self, ticket: &LookupTicket) -> Option<LookupResult> {
        match &self.failure {
            Some(failure) if self.ended > ticket.after => Some(Err(failure.clone())),
            _ => (self.ended >= ticket.number).then_some(Ok(())),
        }
    }

    /// Records the outcome of a lookup. Returns `false` if a later lookup has already started.
    pub(super) fn end(&mut self, number: u64, failure: Option<RegistryError>) -> bool {
        let is_current = self.begun == number;
        if is_current {
            self.ended = number;
            self.failure = failure;
        }
        is_current
    }

    /// Returns whether another lookup must be started, because a call is waiting for its result and
    /// the last lookup succeeded.
    pub(super) fn is_another_wanted(&self) -> bool {
        self.wanted > self.ended && self.failure.is_none()
    }
}

/// The timeout of a lookup.
pub(super) const LOOKUP_TIMEOUT: Duration = Duration::from_secs(15);

/// The maximum time that a call waits for a lookup if there are known instances.
pub(super) const LOOKUP_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> RegistryError {
        RegistryError::NoAnswer { limit: LOOKUP_WAIT }
    }

    #[test]
    fn calls_that_ask_together_share_a_result_and_later_calls_get_the_next() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let deadline = now + Duration::from_secs(30);
        lookups.begin(now);
        let first = [(); 2].map(|()| lookups.ticket(false, deadline, now));
        let later = now + Duration::from_millis(1);
        let second = lookups.ticket(true, deadline, later);
        assert!(lookups.result(&first[0]).is_none());
        assert!(lookups.end(1, None));
        for answered in &first {
            assert!(matches!(lookups.result(answered), Some(Ok(()))));
        }
        assert!(lookups.result(&second).is_none());
        assert!(lookups.is_another_wanted());
        lookups.begin(later);
        assert!(lookups.end(2, None));
        assert!(matches!(lookups.result(&second), Some(Ok(()))));
        assert!(!lookups.is_another_wanted());
        assert!(!lookups.end(1, None), "it was given up");
    }

    #[test]
    fn a_failure_is_a_result_for_all_tickets() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let deadline = now + Duration::from_secs(30);
        lookups.begin(now);
        let tickets = [false, true].map(|next| lookups.ticket(next, deadline, now));
        lookups.end(1, Some(failure()));
        for ticket in &tickets {
            assert!(matches!(lookups.result(ticket), Some(Err(_))));
        }
        assert!(!lookups.is_another_wanted());
        // A call that starts waiting after the failure requires a new result.
        lookups.begin(now);
        let next = lookups.ticket(false, deadline, now);
        assert!(lookups.result(&next).is_none());
    }

    #[test]
    fn the_wait_is_a_share_of_the_time_and_ends_with_the_first_failure() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let fallback_after = |lookups: &mut Lookups, secs| {
            let deadline = now + Duration::from_secs(secs);
            lookups.ticket(false, deadline, now).fallback_after - now
        };
        lookups.begin(now);
        assert_eq!(fallback_after(&mut lookups, 30), LOOKUP_WAIT);
        assert_eq!(fallback_after(&mut lookups, 0), Duration::ZERO);
        assert!(fallback_after(&mut lookups, 1) < LOOKUP_WAIT / 2);
        lookups.end(1, Some(failure()));
        lookups.begin(now);
        assert_eq!(fallback_after(&mut lookups, 30), Duration::ZERO);
    }
}
