use std::time::Duration;

/// Waits between attempts: they double, and each is shortened at random by up to a half, so that many who fail
/// together do not come back together.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            next: first,
            longest,
        }
    }

    /// How long to wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.next.mul_f64(1.0 - fastrand::f64() / 2.0);
        self.next = self.next.saturating_mul(2).min(self.longest);
        wait
    }

    /// The same as after many attempts: whoever is there has asked for patience.
    pub(crate) fn longest(&mut self) -> Duration {
        self.next = self.longest;
        self.next()
    }

    /// An attempt went well, so the next wait is the first again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for _ in 0..2 {
            for expected in [100, 200, 350, 350] {
                let longest = Duration::from_millis(expected);
                let wait = backoff.next();
                assert!(
                    wait <= longest && wait >= longest / 2,
                    "{wait:?} of {longest:?}"
                );
            }
            backoff.reset();
        }
    }
}
