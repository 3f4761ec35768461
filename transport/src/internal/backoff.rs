//! Exponential backoff with jitter.

use std::time::Duration;

/// The delays between attempts. Each delay is twice as long as the previous delay, up to a maximum.
///
/// Each delay is randomly shortened by up to a half, so that clients that fail at the same time do
/// not retry at the same time. The random numbers come from the thread-local generator of
/// `fastrand`, so `fastrand::seed` makes the delays reproducible.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    /// The maximum fraction by which the jitter shortens a delay.
    pub const JITTER: f64 = 0.5;

    /// Creates a backoff whose delays grow from `first` to `max`.
    pub fn new(first: Duration, max: Duration) -> Self {
        Self {
            first,
            next: first,
            max,
        }
    }

    /// Returns the delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_within(self.max)
    }

    /// Returns the delay before the next attempt, which is at most `limit`. The following delay is
    /// twice the limited delay.
    pub fn next_delay_within(&mut self, limit: Duration) -> Duration {
        let delay = self.next.min(self.max).min(limit);
        self.next = delay.saturating_mul(2);
        jittered(delay, Self::JITTER)
    }

    /// Skips to the maximum delay and returns it. Use this method if a server asks its clients to
    /// slow down.
    pub fn max_delay(&mut self) -> Duration {
        self.next = self.max;
        self.next_delay()
    }

    /// Resets the backoff to the first delay. Call this method after a successful attempt.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Randomly shortens a delay. `jitter` is the maximum fraction of the delay that is removed.
pub fn jittered(delay: Duration, jitter: f64) -> Duration {
    delay.mul_f64(1.0 - jitter * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_millis(350);

    #[track_caller]
    fn assert_delay(delay: Duration, milliseconds: u64) {
        let longest = Duration::from_millis(milliseconds);
        assert!(
            delay <= longest && delay >= longest / 2,
            "{delay:?} of {longest:?}"
        );
    }

    #[test]
    fn delays_double_up_to_the_maximum_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(FIRST, MAX);
        for _ in 0..2 {
            for expected in [100, 200, 350, 350] {
                assert_delay(backoff.next_delay(), expected);
            }
            backoff.reset();
        }
    }

    #[test]
    fn doubling_continues_from_a_limited_delay() {
        let mut backoff = Backoff::new(Duration::from_secs(8), Duration::MAX);
        assert_delay(backoff.next_delay_within(Duration::from_secs(1)), 1000);
        assert_delay(backoff.next_delay(), 2000);
    }

    #[test]
    fn the_longest_delay_can_be_asked_for_at_once() {
        let mut backoff = Backoff::new(FIRST, MAX);
        assert_delay(backoff.max_delay(), 350);
        assert_delay(backoff.next_delay(), 350);
    }

    #[test]
    fn a_seed_makes_the_delays_reproducible() {
        let delays = || {
            fastrand::seed(7);
            let mut backoff = Backoff::new(FIRST, MAX);
            [(); 4].map(|()| backoff.next_delay())
        };
        assert_eq!(delays(), delays());
    }
}
