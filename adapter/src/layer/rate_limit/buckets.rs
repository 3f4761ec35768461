//! A bounded table of buckets, one for each caller or agent: [`Buckets`].

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use agentwire_transport::internal::Mutex;
use tokio::time::{Instant, sleep};

use crate::layer::gcra::Rate;

/// The buckets of a layer. The number of buckets is bounded.
///
/// The keys are hashes with a secret of this process. No caller can find a key that collides, and
/// by chance two of 10,000 callers share a bucket in one of 10^11 processes.
#[derive(Debug)]
pub(super) struct Buckets {
    table: Mutex<Table>,
    /// Shared by all requests without a key, and by all keys for which the table has no place.
    shared: Arc<Bucket>,
    max: usize,
    epoch: Instant,
}

#[derive(Debug)]
struct Table {
    buckets: HashMap<u64, Arc<Bucket>>,
    next_sweep: u64,
}

/// The state of one rate.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// The state of the [`Rate`], in nanoseconds since the epoch.
    paid_until: AtomicU64,
    /// The number of requests that are waiting.
    waiting: AtomicU64,
    /// Held by the request that waits at the head of the queue. The mutex is fair.
    head: tokio::sync::Mutex<()>,
}

impl Buckets {
    pub(super) fn new(max: usize) -> Self {
        Self {
            table: Mutex::new(Table {
                buckets: HashMap::new(),
                next_sweep: 0,
            }),
            shared: Arc::default(),
            max,
            epoch: Instant::now(),
        }
    }

    /// Returns the bucket of requests without a key.
    pub(super) fn shared(&self) -> &Bucket {
        &self.shared
    }

    /// Returns the bucket of a key.
    pub(super) fn bucket(&self, key: u64) -> Arc<Bucket> {
        let mut table = self.table.lock();
        if let Some(bucket) = table.buckets.get(&key) {
            return Arc::clone(bucket);
        }
        if table.buckets.len() >= self.max {
            // A sweep visits all buckets, so it must not be repeated for each new one.
            let now = self.now();
            if table.next_sweep <= now {
                table.next_sweep = now.saturating_add(SWEEP_INTERVAL);
                table.buckets.retain(|_, bucket| !bucket.is_idle(now));
            }
            if table.buckets.len() >= self.max {
                return Arc::clone(&self.shared);
            }
        }
        Arc::clone(table.buckets.entry(key).or_default())
    }

    /// Waits until the rate admits a request, for up to `max_wait`.
    ///
    /// # Errors
    ///
    /// Returns the time after which the rate would have admitted the request. No time is spent
    /// waiting for a request that will be refused.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the request leaves the queue and has used nothing of the rate.
    pub(super) async fn admit(
        &self,
        bucket: &Bucket,
        rate: Rate,
        max_wait: Duration,
    ) -> Result<(), Duration> {
        let now = self.now();
        let ahead = bucket.waiting.load(Acquire);
        let excess = if ahead == 0 {
            match bucket.take(rate, now) {
                Ok(()) => return Ok(()),
                Err(excess) => excess,
            }
        } else {
            // The requests that are waiting go first.
            let paid_until = bucket.paid_until.load(Acquire);
            rate.admit(paid_until, now).err().unwrap_or(0)
        };
        let wait = excess.saturating_add(rate.interval().saturating_mul(ahead));
        let wait = Duration::from_nanos(wait);
        if wait > max_wait {
            return Err(wait);
        }
        let _waiting = Waiting::new(&bucket.waiting);
        let _head = bucket.head.lock().await;
        while let Err(excess) = bucket.take(rate, self.now()) {
            sleep(Duration::from_nanos(excess)).await;
        }
        Ok(())
    }

    /// Admits a request if it need not wait.
    pub(super) fn try_admit(&self, bucket: &Bucket, rate: Rate) -> bool {
        bucket.waiting.load(Acquire) == 0 && bucket.take(rate, self.now()).is_ok()
    }

    fn now(&self) -> u64 {
        let elapsed = Instant::now().saturating_duration_since(self.epoch);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.lock().buckets.len()
    }
}

impl Bucket {
    fn take(&self, rate: Rate, now: u64) -> Result<(), u64> {
        let mut paid_until = self.paid_until.load(Acquire);
        loop {
            let paid = rate.admit(paid_until, now)?;
            match self
                .paid_until
                .compare_exchange_weak(paid_until, paid, Release, Acquire)
            {
                Ok(_) => return Ok(()),
                Err(other) => paid_until = other,
            }
        }
    }

    /// Returns whether a new bucket would be in the same state.
    fn is_idle(self: &Arc<Self>, now: u64) -> bool {
        Arc::strong_count(self) == 1 && self.paid_until.load(Acquire) <= now
    }
}

/// A request in the queue of a bucket. Dropping it leaves the queue.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        // Relaxed, because the count orders nothing: it only decides who waits.
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

const SWEEP_INTERVAL: u64 = 1_000_000_000;
