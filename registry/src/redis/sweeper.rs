//! The task that removes expired entries.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    heard::{Heard, SyncCheck},
    status::{Status, record_epoch},
    store::Store,
};

/// Removes expired entries until the task is aborted.
///
/// Every registry sweeps the entries of all registries on the same Redis. Each expiry is published
/// once. A sweep also compares its position with the changes that were heard. If they differ, the
/// subscription and the commands use different servers, and both connections are replaced.
pub(super) async fn run(
    store: Arc<Store>,
    status: Arc<watch::Sender<Status>>,
    heard: Arc<Heard>,
    interval: Duration,
) {
    let mut check = SyncCheck::default();
    loop {
        let before = heard.state();
        match store.sweep(BATCH).await {
            Ok((position, has_more)) => {
                record_epoch(&status, &position.epoch);
                if check.is_lost(&before, &heard, &position, Instant::now()) {
                    let registry = store.registry();
                    tracing::warn!(
                        registry,
                        "commands and subscription use different servers; reconnecting"
                    );
                    heard.forget();
                    store.reconnect();
                }
                if has_more {
                    continue;
                }
            }
            Err(error) => {
                tracing::debug!(registry = store.registry(), %error, "sweep failed; retrying");
            }
        }
        sleep(interval).await;
    }
}

/// Returns the interval between sweeps for a given lease.
pub(super) fn interval(lease: Duration) -> Duration {
    (lease / SWEEPS_PER_LEASE).clamp(MIN_INTERVAL, MAX_INTERVAL)
}

/// The maximum number of entries that a script checks. The number is limited because Redis
/// processes no other commands during a script.
const BATCH: usize = 256;

/// The number of sweeps per lease. Frequent sweeps ensure that an expiry is reported without much
/// delay.
const SWEEPS_PER_LEASE: u32 = 16;
const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MAX_INTERVAL: Duration = Duration::from_secs(5);
