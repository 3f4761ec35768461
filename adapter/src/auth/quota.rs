//! How much a caller may use: [`Quota`], and the table that counts.

use std::{
    collections::HashMap,
    hash::{Hash, RandomState},
    sync::Arc,
    time::Duration,
};

use agentwire_transport::internal::Mutex;
use tokio::time::Instant;

/// The most that one caller may use. Without a setting, nothing is limited.
///
/// A caller is a principal. On a server without authentication, a caller is a user behind a Unix
/// socket, an IPv4 address or an IPv6 network. Requests beyond the quota are refused with
/// `RATE_LIMITED`, and the error says when a request will be accepted again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[must_use]
pub struct Quota {
    pub(crate) requests_per_minute: Option<u64>,
    pub(crate) burst: Option<u64>,
    pub(crate) bytes_per_minute: Option<u64>,
    pub(crate) streams: Option<u64>,
}

impl Quota {
    /// Creates a quota without limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the rate of requests. The minimum is 1.
    pub fn requests_per_minute(mut self, requests: u64) -> Self {
        self.requests_per_minute = Some(requests.max(1));
        self
    }

    /// Sets how many requests a caller may send at once after a pause. The default is the number of
    /// [`requests_per_minute`](Self::requests_per_minute), and the minimum is 1.
    pub fn burst(mut self, requests: u64) -> Self {
        self.burst = Some(requests.max(1));
        self
    }

    /// Sets the rate of bytes in requests and answers. The minimum is 1.
    ///
    /// A byte is one of a decoded text or binary value, and every other value counts like a few
    /// dozen bytes. A request is accepted while any byte is left, so that a large message is not
    /// refused forever. What exceeds the quota delays later requests.
    pub fn bytes_per_minute(mut self, bytes: u64) -> Self {
        self.bytes_per_minute = Some(bytes.max(1));
        self
    }

    /// Sets how many streams and watches a caller may have at a time.
    pub fn streams(mut self, streams: u64) -> Self {
        self.streams = Some(streams);
        self
    }

    /// Returns whether nothing is limited.
    pub(crate) fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// A request that exceeds a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// The name of the exhausted quota in the error.
    pub(crate) of: &'static str,
    pub(crate) limit: u64,
    pub(crate) retry_after: Duration,
}

/// What each caller has used. The number of callers is bounded.
#[derive(Debug)]
pub(crate) struct QuotaTable<K> {
    callers: Mutex<Callers<K>>,
    max_callers: usize,
    epoch: Instant,
}

#[derive(Debug)]
struct Callers<K> {
    used: HashMap<K, Used, RandomState>,
    /// Shared by all callers for which the table has no place.
    overflow: Used,
    next_sweep: u64,
}

/// The use of one caller. Times are nanoseconds since the epoch of the table.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    /// When the requests so far will have been sent at the allowed rate.
    requests_until: u64,
    /// When the bytes so far will have been sent at the allowed rate.
    bytes_until: u64,
    streams: u64,
}

impl Used {
    fn is_idle(&self, now: u64) -> bool {
        self.requests_until <= now && self.bytes_until <= now && self.streams == 0
    }
}

/// A stream in progress. Dropping the guard ends the stream.
#[derive(Debug)]
pub(crate) struct StreamPlace<K: Eq + Hash> {
    table: Arc<QuotaTable<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> QuotaTable<K> {
    pub(crate) fn new(max_callers: usize) -> Self {
        Self {
            callers: Mutex::new(Callers {
                used: HashMap::default(),
                overflow: Used::default(),
                next_sweep: 0,
            }),
            max_callers,
            epoch: Instant::now(),
        }
    }

    /// Counts a request of `bytes`.
    ///
    /// # Errors
    ///
    /// Returns what is used up. Nothing is then counted.
    pub(crate) fn request(&self, key: &K, quota: &Quota, bytes: usize) -> Result<(), Exceeded> {
        let now = self.now();
        self.with(key, now, |used| {
            let requests = match quota.requests_per_minute {
                Some(rate) => {
                    let burst = quota.burst.unwrap_or(rate);
                    let until = used.requests_until.max(now).saturating_add(MINUTE / rate);
                    let excess =
                        (until - now).saturating_sub((MINUTE / rate).saturating_mul(burst));
                    if excess > 0 {
                        return Err(exceeded("requests_per_minute", rate, excess));
                    }
                    until
                }
                None => used.requests_until,
            };
            if let Some(rate) = quota.bytes_per_minute {
                let until = used.bytes_until.max(now);
                let excess = (until - now + 1).saturating_sub(MINUTE);
                if excess > 0 {
                    return Err(exceeded("bytes_per_minute", rate, excess));
                }
                used.bytes_until = until.saturating_add(time_for(bytes, rate));
            }
            used.requests_until = requests;
            Ok(())
        })
    }

    /// Counts the bytes of an answer, which are never refused.
    pub(crate) fn answer(&self, key: &K, quota: &Quota, bytes: usize) {
        if let Some(rate) = quota.bytes_per_minute {
            let now = self.now();
            self.with(key, now, |used| {
                let until = used.bytes_until.max(now);
                used.bytes_until = until.saturating_add(time_for(bytes, rate));
            });
        }
    }

    /// Counts a stream until the returned guard is dropped.
    ///
    /// # Errors
    ///
    /// Returns the limit if the caller has as many streams as it may have.
    pub(crate) fn stream(
        self: &Arc<Self>,
        key: &K,
        quota: &Quota,
    ) -> Result<Option<StreamPlace<K>>, Exceeded> {
        let Some(limit) = quota.streams else {
            return Ok(None);
        };
        self.with(key, self.now(), |used| {
            if used.streams >= limit {
                return Err(Exceeded {
                    of: "streams",
                    limit,
                    retry_after: STREAM_RETRY,
                });
            }
            used.streams += 1;
            Ok(())
        })?;
        Ok(Some(StreamPlace {
            table: Arc::clone(self),
            key: key.clone(),
        }))
    }

    fn now(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.epoch);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    fn with<T>(&self, key: &K, now: u64, count: impl FnOnce(&mut Used) -> T) -> T {
        let callers = &mut *self.callers.lock();
        if !callers.used.contains_key(key) && callers.used.len() >= self.max_callers {
            // A sweep visits all callers, so it must not be repeated for each new one.
            if callers.next_sweep <= now {
                callers.next_sweep = now + SWEEP_INTERVAL;
                callers.used.retain(|_, used| !used.is_idle(now));
            }
            if callers.used.len() >= self.max_callers {
                return count(&mut callers.overflow);
            }
        }
        count(callers.used.entry(key.clone()).or_default())
    }
}

impl<K: Eq + Hash> Drop for StreamPlace<K> {
    fn drop(&mut self) {
        let callers = &mut *self.table.callers.lock();
        // A caller with a stream is never swept, so a missing caller was counted as overflow.
        let used = match callers.used.get_mut(&self.key) {
            Some(used) if used.streams > 0 => used,
            _ => &mut callers.overflow,
        };
        used.streams = used.streams.saturating_sub(1);
    }
}

fn exceeded(of: &'static str, limit: u64, excess: u64) -> Exceeded {
    Exceeded {
        of,
        limit,
        retry_after: Duration::from_nanos(excess),
    }
}

/// Returns the time that `bytes` take at the allowed rate.
fn time_for(bytes: usize, rate: u64) -> u64 {
    let nanos = bytes as u128 * u128::from(MINUTE) / u128::from(rate);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

const MINUTE: u64 = 60_000_000_000;
const SWEEP_INTERVAL: u64 = 1_000_000_000;

/// When a caller with too many streams should try again, because the end of a stream is unknown.
const STREAM_RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        requests_per_minute: Some(60),
        burst: Some(5),
        bytes_per_minute: None,
        streams: Some(2),
    };

    /// A bucket of tokens that is filled in steps of one millisecond.
    struct Bucket {
        thousandths: u64,
    }

    impl Bucket {
        fn pass(&mut self, millis: u64) {
            for _ in 0..millis {
                // 60 a minute is a thousandth of a request each millisecond.
                self.thousandths = (self.thousandths + 1).min(5000);
            }
        }

        fn take(&mut self) -> bool {
            let has_one = self.thousandths >= 1000;
            self.thousandths -= if has_one { 1000 } else { 0 };
            has_one
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_admitted_like_those_of_a_naive_bucket() {
        let table = QuotaTable::new(8);
        let mut bucket = Bucket { thousandths: 5000 };
        let mut random = fastrand::Rng::with_seed(7);
        let mut admitted = 0;
        for step in 0..5000 {
            let pause = random.u64(0..1500) * random.u64(0..2);
            tokio::time::advance(Duration::from_millis(pause)).await;
            bucket.pass(pause);
            let expected = bucket.take();
            let found = table.request(&"alice", &QUOTA, 0);
            assert_eq!(found.is_ok(), expected, "step {step}: {found:?}");
            admitted += u64::from(expected);
            if let Err(exceeded) = found {
                // The time in the error is exact.
                let left = Duration::from_millis(1000 - bucket.thousandths);
                assert_eq!(exceeded.retry_after, left);
            }
        }
        assert!(admitted > 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_is_admitted_once_and_delays_the_next_ones() {
        let table = QuotaTable::new(8);
        let quota = Quota::new().bytes_per_minute(1000);
        table.request(&1, &quota, 5000).unwrap();
        let exceeded = table.request(&1, &quota, 1).unwrap_err();
        assert_eq!(exceeded.of, "bytes_per_minute");
        tokio::time::advance(exceeded.retry_after).await;
        table.request(&1, &quota, 1).unwrap();
        table.answer(&1, &quota, 100);
        table.request(&1, &quota, 1).unwrap_err();
        table.request(&2, &quota, 1).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn streams_are_counted_until_they_end() {
        let table = Arc::new(QuotaTable::new(1));
        let first = table.stream(&"a", &QUOTA).unwrap();
        let _second = table.stream(&"a", &QUOTA).unwrap();
        assert_eq!(table.stream(&"a", &QUOTA).unwrap_err().of, "streams");
        // The table is full, so all other callers share one place.
        let third = table.stream(&"b", &QUOTA).unwrap();
        let _fourth = table.stream(&"c", &QUOTA).unwrap();
        table.stream(&"d", &QUOTA).unwrap_err();
        drop((first, third));
        let _fifth = table.stream(&"a", &QUOTA).unwrap();
        let _sixth = table.stream(&"d", &QUOTA).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn callers_without_recent_requests_are_forgotten() {
        let table = QuotaTable::new(100);
        for caller in 0..100 {
            table.request(&caller, &QUOTA, 0).unwrap();
        }
        let crowd = |table: &QuotaTable<i32>| {
            (1000..2000)
                .filter(|caller| table.request(caller, &QUOTA, 0).is_ok())
                .count()
        };
        assert_eq!(crowd(&table), 5, "the overflow has the quota of one caller");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(crowd(&table), 105);
        assert!(table.callers.lock().used.len() <= 100);
    }
}
