//! The time limit of tests.

use std::time::Duration;

use crate::TestFailure;

/// Runs a test with a time limit.
///
/// # Errors
///
/// The failure of the test, or that the limit was exceeded.
///
/// # Cancel safety
///
/// Dropping the future drops the test.
pub async fn within<T>(
    test: impl Future<Output = Result<T, TestFailure>>,
) -> Result<T, TestFailure> {
    match tokio::time::timeout(LIMIT, test).await {
        Ok(result) => result,
        Err(_) => Err(TestFailure::new(format!(
            "not done within {} seconds",
            LIMIT.as_secs()
        ))),
    }
}

/// The time limit of a test: far more than a loaded machine needs, and more than the 30 seconds
/// that `call.py` allows for a case, so that `call.py` reports a case that hangs first.
const LIMIT: Duration = Duration::from_secs(60);
