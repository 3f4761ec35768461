use std::time::Duration;

/// How long to wait before the next try: longer each time, and not the same for everybody.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

/// By how much the waits are shortened at random, at most, so that those who lost the same registry do not all come
/// back at once.
pub(crate) const SPREAD: f64 = 0.5;

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self { next: first }
    }

    /// The next wait, shortened, and no longer than `longest`. The one after it is twice as long.
    pub(crate) fn wait(&mut self, longest: Duration) -> Duration {
        let wait = self.next.min(longest);
        self.next = wait.saturating_mul(2);
        shortened(wait, SPREAD)
    }
}

/// A wait without up to this part of it, at random.
pub(crate) fn shortened(wait: Duration, spread: f64) -> Duration {
    wait.mul_f64(1.0 - spread * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit() {
        let limit = Duration::from_secs(2);
        let mut longest = Duration::from_millis(50);
        let mut backoff = Backoff::new(longest);
        for _ in 0..100 {
            let wait = backoff.wait(limit);
            assert!(wait >= longest / 2 && wait <= longest, "{wait:?}");
            longest = (longest * 2).min(limit);
        }
        assert_eq!(longest, limit);
    }

    #[test]
    fn a_wait_that_was_cut_is_the_one_that_doubles() {
        let mut backoff = Backoff::new(Duration::from_secs(8));
        backoff.wait(Duration::from_secs(1));
        let wait = backoff.wait(Duration::MAX);
        assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(2));
    }
}
