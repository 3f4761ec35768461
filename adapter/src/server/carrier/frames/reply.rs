//! The replies to requests, and the errors that replace replies that cannot be encoded.

use agentwire_codec::{
    Body, EncodeError, Envelope, EnvelopeType, ErrorCode, Format, RequestId, WireError,
};

/// A reply, with the format of its request (PROTOCOL 10.2).
pub(super) struct Reply {
    pub(super) format: Format,
    pub(super) envelope: Envelope,
}

impl Reply {
    /// Returns whether further replies to the same request may follow.
    pub(super) fn is_chunk(&self) -> bool {
        self.envelope.body.kind() == EnvelopeType::StreamChunk
    }
}

/// Returns the errors that can replace a reply that cannot be encoded, in order of preference
/// (PROTOCOL 7.4).
pub(super) fn replacements(
    id: &RequestId,
    body: Option<&Body>,
    error: &EncodeError,
) -> Vec<Envelope> {
    let replace = |error: WireError| Envelope::new(id.clone(), error);
    let mut replacements = Vec::new();
    if let Some(Body::Error(original)) = body {
        // An error may fit into a frame without its details.
        replacements.push(replace(WireError::new(
            original.code.clone(),
            original.message.clone(),
        )));
    }
    let text = format!("The answer cannot be sent: {error}");
    replacements.push(replace(WireError::new(ErrorCode::INTERNAL_ERROR, text)));
    replacements
}
