//! Whose fault an error is: that of an agent, or that of its caller.

use agentwire_codec::ErrorCode;
use tokio::time::Instant;

use crate::{AgentError, Error};

/// Returns whether an error says that the agent, or the way to it, does not work. An error that the
/// caller has caused, and an error with a code of the agent's own, say that it works.
pub(super) fn is_fault(error: &AgentError) -> bool {
    if let Some(call) = error.call_error() {
        if call.is_protocol() || !(call.is_remote() || call.is_encode()) {
            return true;
        }
        if call.is_encode() {
            return false;
        }
    }
    FAULTS.contains(error.code())
}

/// Returns whether an error is the end of the time that the caller has given. A caller that gives
/// little time says nothing about the agent.
pub(super) fn is_out_of_time(error: &AgentError, deadline: Option<Instant>) -> bool {
    is_timeout(error) && deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Returns whether an error means that the request took too long.
pub(super) fn is_timeout(error: &AgentError) -> bool {
    [ErrorCode::AGENT_TIMEOUT, ErrorCode::CONNECTION_TIMEOUT].contains(error.code())
}

/// Returns whether the request can safely be repeated and may then succeed, as
/// [`Error::is_retryable`] says for calls.
pub(super) fn is_retryable(error: &AgentError) -> bool {
    match error.call_error() {
        Some(call) => call.is_retryable(),
        // A layer or an agent refused the request before it started the work.
        None => [ErrorCode::AGENT_UNAVAILABLE, ErrorCode::RATE_LIMITED].contains(error.code()),
    }
}

/// Returns whether a request that can be processed twice may succeed if it is repeated.
pub(super) fn is_transient(error: &AgentError) -> bool {
    is_retryable(error)
        || is_timeout(error)
        || *error.code() == ErrorCode::CONNECTION_CLOSED
        || error.call_error().is_some_and(Error::is_disconnected)
}

const FAULTS: [ErrorCode; 9] = [
    ErrorCode::CONNECTION_FAILED,
    ErrorCode::CONNECTION_TIMEOUT,
    ErrorCode::CONNECTION_CLOSED,
    ErrorCode::AGENT_UNAVAILABLE,
    ErrorCode::AGENT_TIMEOUT,
    ErrorCode::TOOL_EXECUTION_FAILED,
    ErrorCode::INTERNAL_ERROR,
    ErrorCode::AGENT_ERROR,
    ErrorCode::STREAM_ERROR,
];
