//! The rules for retrying after failures of Redis.

use std::time::Duration;

use agentwire_transport::internal::Backoff;

/// The number of consecutive refusals of Redis.
#[derive(Debug, Default)]
pub(super) struct RefusalCount(u32);

impl RefusalCount {
    /// Counts a refusal. Returns whether to give up, because the refusal is permanent or there have
    /// been too many refusals.
    pub(super) fn should_give_up(&mut self, is_permanent: bool) -> bool {
        self.0 += 1;
        is_permanent || self.0 >= MAX_REFUSALS
    }

    /// Resets the count after any outcome other than a refusal.
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}

/// Returns the backoff between attempts to reach Redis.
pub(super) fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2))
}

/// The maximum number of consecutive refusals. Some refusals are temporary, for example because of
/// too many clients or a lack of memory. Including the delays between attempts, the maximum number
/// of refusals takes about 10 s.
const MAX_REFUSALS: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permanent_refusal_counts_at_once_and_others_after_a_while() {
        assert!(RefusalCount::default().should_give_up(true));
        let mut refusals = RefusalCount::default();
        for _ in 1..MAX_REFUSALS {
            assert!(!refusals.should_give_up(false));
        }
        assert!(refusals.should_give_up(false));
    }
}
