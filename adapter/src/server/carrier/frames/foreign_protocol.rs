//! What a server does about peers that speak another protocol.

use std::time::Instant;

use agentwire_codec::ForeignProtocol;
use agentwire_transport::{Peer, internal::LogLimit};

/// Logs that a peer speaks another protocol. Peers that do so many times cause few lines.
pub(super) fn warn(peer: &Peer, protocol: ForeignProtocol) {
    if let Some(count) = WARNINGS.record(Instant::now()) {
        tracing::warn!(%peer, %protocol, count, "peer does not speak agentwire; connection refused");
    }
}

/// Appends an HTTP response, for a person who opens the port in a browser or with curl.
///
/// Nothing of the request is parsed or repeated, and the connection is closed afterwards.
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
