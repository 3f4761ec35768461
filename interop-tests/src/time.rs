//! The time limit for tests.

use std::time::Duration;

use crate::TestFailure;

/// Runs a test with a time limit.
///
/// # Errors
///
/// Returns an error if the test fails or exceeds the time limit.
///
/// # Cancel safety
///
/// If the future is dropped, the test is dropped too.
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

/// The time limit for a test, which is much longer than a test needs on a loaded machine. The limit
/// is also longer than the 150 seconds that `call.py` allows for a case, so that `call.py` is the
/// first to report a case that hangs.
const LIMIT: Duration = Duration::from_secs(200);
