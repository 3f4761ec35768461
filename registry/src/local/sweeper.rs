use std::sync::Weak;

use tokio::{
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::shared::Shared;

/// Removes what is over, when it is. Ends with the registry, or when it wakes and nothing is registered any more.
pub(super) async fn sweep(shared: Weak<Shared>, first: Instant) {
    let mut next = Some(first);
    while let Some(when) = next {
        if when <= Instant::now() {
            // Between two batches others have their turn.
            yield_now().await;
        } else {
            sleep_until(when).await;
        }
        next = shared.upgrade().and_then(|shared| shared.sweep());
    }
}
