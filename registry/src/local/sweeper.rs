use std::sync::Weak;

use tokio::{
    select,
    task::yield_now,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;

/// Removes what is over, when it is. Ends with the registry, or when it wakes and nothing is registered any more.
pub(super) struct Sweeper {
    shared: Weak<Shared>,
    /// False if it ends before its work does: its runtime has gone.
    is_done: bool,
}

impl Sweeper {
    pub(super) fn new(shared: Weak<Shared>) -> Self {
        Self {
            shared,
            is_done: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(when) = self.shared.upgrade().and_then(|shared| shared.sweep()) {
            if when <= Instant::now() {
                // Between two batches others have their turn.
                yield_now().await;
            } else {
                select! {
                    () = stop.cancelled() => break,
                    () = sleep_until(when) => {}
                }
            }
        }
        self.is_done = true;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let (false, Some(shared)) = (self.is_done, self.shared.upgrade()) {
            shared.lost_sweeper();
        }
    }
}
