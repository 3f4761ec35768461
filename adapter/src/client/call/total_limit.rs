//! The total timeout of a stream.

use std::time::Duration;

use agentwire_transport::internal::MAX_TIMEOUT;
use tokio::time::Instant;

use crate::Error;

/// The deadline of a whole stream, and the timeout from which the deadline was computed.
#[derive(Debug, Clone, Copy)]
pub(in crate::client) struct TotalLimit {
    pub(super) at: Instant,
    timeout: Duration,
}

impl TotalLimit {
    /// Creates the limit for a stream that starts now.
    pub(in crate::client) fn new(timeout: Duration) -> Self {
        Self {
            at: Instant::now() + timeout.min(MAX_TIMEOUT),
            timeout,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.at <= Instant::now()
    }
}

/// Makes a timeout error report the total timeout of the stream if the total timeout has expired.
pub(super) fn applied_to(mut error: Error, limit: Option<TotalLimit>) -> Error {
    let reached = limit.filter(TotalLimit::is_over);
    if let (Error::Timeout { timeout, .. }, Some(limit)) = (&mut error, reached) {
        *timeout = limit.timeout;
    }
    error
}
