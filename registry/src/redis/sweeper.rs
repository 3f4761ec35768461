use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::sleep};

use super::{
    status::{Status, seen},
    store::Store,
};

/// How many entries are looked at at once. Redis does nothing else meanwhile.
const BATCH: usize = 256;

/// A lease has room for so many sweeps, so that an expiry is told soon after it happened.
const SWEEPS_PER_LEASE: u32 = 16;
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);

pub(super) fn interval(lease: Duration) -> Duration {
    (lease / SWEEPS_PER_LEASE).clamp(SHORTEST, LONGEST)
}

/// Removes what is over, whoever registered it: of several registries on one Redis, one finds it first. Does not end
/// by itself.
pub(super) async fn sweep(
    store: Arc<Store>,
    status: Arc<watch::Sender<Status>>,
    interval: Duration,
) {
    loop {
        match store.sweep(BATCH).await {
            Ok((epoch, is_more)) => {
                seen(&status, &epoch);
                if is_more {
                    continue;
                }
            }
            Err(error) => {
                tracing::debug!(registry = store.registry(), %error, "cannot sweep");
            }
        }
        sleep(interval).await;
    }
}
