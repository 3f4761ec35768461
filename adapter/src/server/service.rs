//! The interface between carriers and the logic of a server.

use agentwire_codec::{
    Body, EnvelopeType, ErrorCode, Map, RequestId, Value, WireError,
    internal::{repeatable, repeatable_text},
};
use agentwire_transport::Peer;
use futures_core::{future::BoxFuture, stream::BoxStream};

use crate::connection::Bodies;

/// The logic of a server. A service runs agents and tools, manages a registry, or forwards
/// requests.
///
/// A service does not handle connections, encodings or limits. The carriers implement them.
pub(crate) trait Service: Send + Sync + 'static {
    /// Returns how carriers decode the bodies of requests.
    fn bodies(&self) -> Bodies {
        Bodies::Typed
    }

    /// Returns whether envelopes of this type are requests for this service. All other envelopes
    /// are refused with `INVALID_MESSAGE`.
    fn accepts(&self, kind: EnvelopeType) -> bool;

    /// Starts a request of an accepted type. The returned work makes progress when polled, and is
    /// cancelled when dropped.
    ///
    /// # Errors
    ///
    /// Returns the error that answers the request.
    fn start(&self, id: &RequestId, body: Body, peer: &Peer) -> Result<Work, WireError>;
}

/// The processing of one request.
pub(crate) enum Work {
    /// A future that resolves to the only answer.
    One(BoxFuture<'static, Body>),
    /// A stream of chunks that ends with a `stream_end` or an error.
    Many(BoxStream<'static, Body>),
}

/// Returns the answer to a request for an unknown method (PROTOCOL 7.3).
pub(crate) fn unknown_method(method: Value) -> WireError {
    let method = repeatable(method);
    let text = format!(
        "Unknown method: {}",
        repeatable_text(&method.to_plain_text())
    );
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("method", method)]))
}
