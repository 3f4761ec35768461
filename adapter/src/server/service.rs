use std::sync::Arc;

use agentwire_codec::{Body, EnvelopeType, ErrorCode, Map, RequestId, Value, WireError};
use agentwire_transport::Peer;
use futures_core::{future::BoxFuture, stream::BoxStream};

/// What a server does about the envelopes that it is sent. Connections, framing, limits and the end of it all are
/// the server's own.
pub(crate) trait Service: Send + Sync + 'static {
    /// True if an envelope of this type is for it. Any other is answered with `INVALID_MESSAGE`.
    fn takes(&self, kind: EnvelopeType) -> bool;

    /// Begins to work on an envelope of a type that it takes. The work is done as it is polled, and ends when it is
    /// dropped.
    ///
    /// # Errors
    ///
    /// The error that is the answer.
    fn start(&self, id: &RequestId, body: Body, peer: &Arc<Peer>) -> Result<Work, WireError>;
}

/// The work on one request.
pub(crate) enum Work {
    /// It has one answer.
    One(BoxFuture<'static, Body>),
    /// It has chunks, and an end or an error.
    Many(BoxStream<'static, Body>),
}

/// What is answered to a request for a method that a service does not have (PROTOCOL 7.3).
pub(crate) fn unknown_method(method: Value) -> WireError {
    let text = format!("Unknown method: {}", method.to_plain_text());
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("method", method)]))
}
