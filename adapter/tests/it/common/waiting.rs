//! Waiting with a limit, so that a test that hangs fails.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// Waits for a future for up to 20 s.
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    // Boxed, because a test may await many calls in one future.
    let future = Box::pin(future);
    async {
        tokio::time::timeout(HANG_LIMIT, future)
            .await
            .unwrap_or_else(|_| panic!("nothing happened within {HANG_LIMIT:?}"))
    }
}

/// Yields to other tasks until they have made a condition true.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    // By the system's clock, because a paused clock stands still while this yields.
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < HANG_LIMIT, "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// What takes this long hangs, on the slowest machine.
pub(crate) const HANG_LIMIT: Duration = Duration::from_secs(20);
