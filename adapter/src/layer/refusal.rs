//! The errors of layers that refuse a request before the agent has seen it.

use std::time::Duration;

use agentwire_codec::{ErrorCode, map};

use crate::AgentError;

/// Returns the error of an agent that is not available at the moment. `reason` is a cause for
/// programs, such as `busy`.
pub(super) fn unavailable(reason: &str, text: String, retry_after: Duration) -> AgentError {
    AgentError::with_code(ErrorCode::AGENT_UNAVAILABLE, text).with_details(map! {
        "reason": reason,
        "retry_after_ms": (millis(retry_after)),
    })
}

/// Returns a duration in milliseconds, rounded up, so that a caller does not return too early.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
