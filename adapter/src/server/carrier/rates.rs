//! The least rates at which peers must send and read.

use std::time::Duration;

use agentwire_transport::internal::MAX_TIMEOUT;

/// The least rate at which a large request must arrive, in bytes per second. An incomplete request
/// holds memory of the budget, so that a lower rate would let few peers hold the budget.
pub(super) const MIN_REQUEST_RATE: u64 = 16 * 1024;

/// The least rate at which a peer must read its answers, in bytes per second.
pub(super) const MIN_ANSWER_RATE: u64 = 1024;

/// Returns the number of bytes that must be moved within `timeout`, which is at least 1.
pub(super) fn least_bytes(rate: u64, timeout: Duration) -> u64 {
    let nanos = timeout.min(MAX_TIMEOUT).as_nanos();
    let bytes = u128::from(rate) * nanos / 1_000_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX).max(1)
}
