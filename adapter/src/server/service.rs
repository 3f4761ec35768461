//! The seam between carriers and what a server does.

use agentwire_codec::{
    Body, EnvelopeType, ErrorCode, Map, RequestId, Value, WireError,
    internal::{repeatable, repeatable_text},
};
use agentwire_transport::Peer;
use futures_core::{future::BoxFuture, stream::BoxStream};

/// What a server does with requests: runs agents and tools, or keeps a registry.
///
/// A service knows nothing of connections, encodings and limits. Those belong to the carriers.
pub(crate) trait Service: Send + Sync + 'static {
    /// Returns whether envelopes of this type are requests for this service. All others are refused
    /// with `INVALID_MESSAGE`.
    fn accepts(&self, kind: EnvelopeType) -> bool;

    /// Starts a request of an accepted type. The work advances as it is polled, and is cancelled by
    /// dropping it.
    ///
    /// # Errors
    ///
    /// The error that answers the request.
    fn start(&self, id: &RequestId, body: Body, peer: &Peer) -> Result<Work, WireError>;
}

/// The work on one request.
pub(crate) enum Work {
    /// Ends in one answer.
    One(BoxFuture<'static, Body>),
    /// Yields chunks, and then an end or an error.
    Many(BoxStream<'static, Body>),
}

/// Returns the answer to a request for a method that a service does not have (PROTOCOL 7.3).
pub(crate) fn unknown_method(method: Value) -> WireError {
    let method = repeatable(method);
    let text = format!(
        "Unknown method: {}",
        repeatable_text(&method.to_plain_text())
    );
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("method", method)]))
}
