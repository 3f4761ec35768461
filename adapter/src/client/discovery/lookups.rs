use std::{sync::Arc, time::Duration};

use agentwire_registry::RegistryError;
use tokio::time::Instant;

use super::task::Task;

/// The questions to the registry: one at a time, for all calls that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    begun: u64,
    ended: u64,
    /// Somebody wants the answer to the one of this number.
    wanted: u64,
    began_at: Option<Instant>,
    /// Why the registry did not say, the last time.
    failure: Option<Arc<RegistryError>>,
    /// Asks. It belongs to the client and not to a call, which may be given up, or not be polled.
    task: Option<Task>,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    /// The lookup whose answer will do.
    number: u64,
    /// How many had ended by then: that a later one fails will do, too.
    after: u64,
    /// Until when to wait for the answer, if there is something else to go by.
    pub(super) go_by: Instant,
}

pub(super) type Answer = Result<(), Arc<RegistryError>>;

impl Lookups {
    /// Whether the registry is being asked. A question in a runtime that has ended, or stands still, is none.
    pub(super) fn is_under_way(&self, now: Instant) -> bool {
        let is_alive = || self.task.as_ref().is_some_and(|task| !task.has_ended());
        self.ended < self.begun && !self.is_older_than(LOOKUP_LIMIT + PATIENCE, now) && is_alive()
    }

    /// True if the registry has not been asked for so long.
    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        self.began_at.is_none_or(|began| began + age <= now)
    }

    /// A new question begins, of this number.
    pub(super) fn begin(&mut self, now: Instant) -> u64 {
        self.begun += 1;
        self.began_at = Some(now);
        self.begun
    }

    pub(super) fn keep(&mut self, task: Option<Task>) {
        self.task = task;
    }

    /// For a call that wants an answer, and has to be done by its deadline: to what the registry was asked last, or
    /// to the `next` question, if that may be too old for it.
    pub(super) fn question(&mut self, next: bool, deadline: Instant, now: Instant) -> Question {
        let number = self.begun + u64::from(next);
        self.wanted = self.wanted.max(number);
        let began = self.began_at.unwrap_or(now);
        let third = now + deadline.saturating_duration_since(now) / 3;
        let go_by = match self.failure {
            None => third.min(began + PATIENCE),
            // As likely as not, it fails again.
            Some(_) => now,
        };
        Question {
            number,
            after: self.ended,
            go_by,
        }
    }

    /// What has come of a question; `None` if it is still open.
    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        match &self.failure {
            Some(failure) if self.ended > question.after => Some(Err(Arc::clone(failure))),
            _ => (self.ended >= question.number).then_some(Ok(())),
        }
    }

    /// Takes in how a question ended. False if it was given up for lost meanwhile.
    pub(super) fn end(&mut self, number: u64, failure: Option<RegistryError>) -> bool {
        let is_current = self.begun == number;
        if is_current {
            self.ended = number;
            self.failure = failure.map(Arc::new);
        }
        is_current
    }

    /// Somebody asked after the last question had begun, and it did not fail.
    pub(super) fn is_another_wanted(&self) -> bool {
        self.wanted > self.ended && self.failure.is_none()
    }
}

/// How long the registry may take to answer.
pub(super) const LOOKUP_LIMIT: Duration = Duration::from_secs(15);

/// How long calls wait for an answer at most, if they have something else to go by.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> RegistryError {
        RegistryError::NoAnswer { limit: PATIENCE }
    }

    #[test]
    fn those_who_ask_together_have_one_answer_and_those_who_come_later_the_next() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let deadline = now + Duration::from_secs(30);
        lookups.begin(now);
        let first = [(); 2].map(|()| lookups.question(false, deadline, now));
        let later = now + Duration::from_millis(1);
        let second = lookups.question(true, deadline, later);
        assert!(lookups.answer(&first[0]).is_none());
        assert!(lookups.end(1, None));
        for answered in &first {
            assert!(matches!(lookups.answer(answered), Some(Ok(()))));
        }
        assert!(lookups.answer(&second).is_none());
        assert!(lookups.is_another_wanted());
        lookups.begin(later);
        assert!(lookups.end(2, None));
        assert!(matches!(lookups.answer(&second), Some(Ok(()))));
        assert!(!lookups.is_another_wanted());
        assert!(!lookups.end(1, None), "it was given up");
    }

    #[test]
    fn a_failure_is_an_answer_to_all() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let deadline = now + Duration::from_secs(30);
        lookups.begin(now);
        let questions = [false, true].map(|next| lookups.question(next, deadline, now));
        lookups.end(1, Some(failure()));
        for question in &questions {
            assert!(matches!(lookups.answer(question), Some(Err(_))));
        }
        assert!(!lookups.is_another_wanted());
        // It is none to whoever asks afterwards.
        lookups.begin(now);
        let next = lookups.question(false, deadline, now);
        assert!(lookups.answer(&next).is_none());
    }

    #[test]
    fn patience_is_a_part_of_the_time_and_ends_with_the_first_failure() {
        let (mut lookups, now) = (Lookups::default(), Instant::now());
        let go_by = |lookups: &mut Lookups, secs| {
            let deadline = now + Duration::from_secs(secs);
            lookups.question(false, deadline, now).go_by - now
        };
        lookups.begin(now);
        assert_eq!(go_by(&mut lookups, 30), PATIENCE);
        assert_eq!(go_by(&mut lookups, 0), Duration::ZERO);
        assert!(go_by(&mut lookups, 1) < PATIENCE / 2);
        lookups.end(1, Some(failure()));
        lookups.begin(now);
        assert_eq!(go_by(&mut lookups, 30), Duration::ZERO);
    }
}
