//! What every test of this crate needs.

use std::time::Duration;

/// Awaits, but not forever. The limit is far beyond what a loaded machine needs.
pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("took more than 30 seconds")
}
