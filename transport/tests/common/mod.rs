//! Shared by all tests of this crate.

use std::time::Duration;

/// Awaits a future for at most 30 seconds, far more than a loaded machine needs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("took more than 30 seconds")
}
