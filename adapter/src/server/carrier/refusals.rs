//! The errors with which carriers refuse requests before the service sees them.

use agentwire_codec::{
    EnvelopeType, ErrorCode, Format, Map, WireError, internal::MAX_REPEATED_LEN,
};

/// Returns the answer to a request that reaches a stopping server. No agent has seen the request,
/// so the caller can safely send it again.
pub(super) fn stopping() -> WireError {
    WireError::new(ErrorCode::AGENT_UNAVAILABLE, "The server is stopping")
        .with_details(Map::from([("reason", "stopping")]))
}

/// Returns the answer to a request for which a server has no memory. As with [`stopping`], no agent
/// has seen the request.
pub(super) fn no_memory() -> WireError {
    let text = "The memory budget of the server is used up";
    WireError::new(ErrorCode::AGENT_UNAVAILABLE, text)
        .with_details(Map::from([("reason", "memory")]))
}

/// Returns the answer to an envelope that is not a request for the service (PROTOCOL 7.3). For a
/// large payload, `payload` may be empty.
pub(super) fn not_a_request(
    kind: EnvelopeType,
    format: Format,
    len: usize,
    payload: &[u8],
) -> WireError {
    let text = format!("Expected 'request' but got '{kind}'");
    let request = if len <= MAX_REPEATED_LEN {
        // The payload has already been decoded as an envelope, so it is a valid value.
        format.decode_value(payload).unwrap_or_default()
    } else {
        format!("object of {len} bytes").into()
    };
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("request", request)]))
}
