use std::time::Duration;

use crate::Failure;

/// How long a test may take, unless it says otherwise. Far beyond what a loaded machine needs, and
/// more than the 30 seconds that `call.py` gives a case, so that its own account of a case that
/// hangs comes first.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test, but not forever.
///
/// # Errors
///
/// What the test fails with, or that it took too long.
///
/// # Cancel safety
///
/// As that of the test: it is dropped with this.
pub async fn within<T>(test: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, test).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(format!(
            "not done within {} seconds",
            LIMIT.as_secs()
        ))),
    }
}
