//! The generic cell rate algorithm, which is a bucket of tokens in one number.

use std::time::Duration;

/// A rate. The state of a bucket is the time until which its requests have been paid for: requests
/// may pay for up to `burst` intervals in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// The time that one request pays for, in nanoseconds.
    interval: u64,
    burst: u64,
}

impl Rate {
    pub(super) fn new(count: u32, period: Duration, burst: u32) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        Self {
            interval: (period / u64::from(count.max(1))).max(1),
            burst: u64::from(burst.max(1)),
        }
    }

    /// Returns the time that one request pays for.
    pub(super) fn interval(self) -> u64 {
        self.interval
    }

    /// Admits a request, if the rate allows. Returns the new state of the bucket.
    ///
    /// # Errors
    ///
    /// Returns the time until a request is admitted. All times are in nanoseconds.
    pub(super) fn admit(self, paid_until: u64, now: u64) -> Result<u64, u64> {
        let paid_until = paid_until.max(now).saturating_add(self.interval);
        let in_advance = paid_until - now;
        let allowed = self.interval.saturating_mul(self.burst);
        if in_advance > allowed {
            Err(in_advance - allowed)
        } else {
            Ok(paid_until)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket of tokens that fills with each nanosecond.
    struct Bucket {
        /// Tokens, in parts of `interval`.
        parts: u64,
        filled: u64,
    }

    #[test]
    fn requests_are_admitted_like_those_of_a_naive_bucket() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let (count, burst) = (random.u32(1..20), random.u32(1..10));
            let period = Duration::from_nanos(random.u64(1..1000) * u64::from(count));
            let rate = Rate::new(count, period, burst);
            let interval = rate.interval();
            let full = interval * u64::from(burst);
            let (mut bucket, mut state) = (
                Bucket {
                    parts: full,
                    filled: 0,
                },
                0,
            );
            let mut now = 0;
            for _ in 0..500 {
                now += random.u64(0..2 * interval) * random.u64(0..2);
                bucket.parts = (bucket.parts + now - bucket.filled).min(full);
                bucket.filled = now;
                match rate.admit(state, now) {
                    Ok(paid) => {
                        assert!(bucket.parts >= interval, "seed {seed}");
                        bucket.parts -= interval;
                        state = paid;
                    }
                    Err(after) => {
                        assert_eq!(after, interval - bucket.parts, "seed {seed}");
                        // The time is exact.
                        rate.admit(state, now + after).unwrap();
                        rate.admit(state, now + after - 1).unwrap_err();
                    }
                }
            }
        }
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        for rate in [
            Rate::new(u32::MAX, Duration::ZERO, u32::MAX),
            Rate::new(0, Duration::MAX, 0),
            Rate::new(1, Duration::MAX, u32::MAX),
        ] {
            for now in [0, 1, u64::MAX] {
                let _ = rate.admit(0, now).map(|paid| rate.admit(paid, now));
                let _ = rate.admit(u64::MAX, now);
            }
        }
    }
}
