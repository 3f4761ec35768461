//! Handles peers that use another protocol.

use std::time::Instant;

use agentwire_codec::ForeignProtocol;
use agentwire_transport::{Peer, internal::LogLimit};

/// Logs a rate-limited warning that a peer uses another protocol.
pub(super) fn warn(peer: &Peer, protocol: ForeignProtocol) {
    if let Some(count) = WARNINGS.record(Instant::now()) {
        tracing::warn!(%peer, %protocol, count, "peer does not speak agentwire; connection refused");
    }
}

/// Appends an HTTP response for users who open the port in a browser or with curl.
///
/// The request is not parsed, and the response contains no part of the request. The connection is
/// closed afterwards.
pub(super) fn answer_http(buffer: &mut Vec<u8>) {
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        HTTP_BODY.len()
    );
    buffer.extend_from_slice(head.as_bytes());
    buffer.extend_from_slice(HTTP_BODY.as_bytes());
}

static WARNINGS: LogLimit = LogLimit::new();

const HTTP_BODY: &str = "This server speaks agentwire, not HTTP. \
    Call its agents with an agentwire client, for example `agentwire call`.\n";
