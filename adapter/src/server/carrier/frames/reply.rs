//! Replies: what is sent for a request, and what is sent in place of a reply that cannot be.

use agentwire_codec::{Body, EncodeError, Envelope, ErrorCode, Format, WireError};

/// An envelope, in the format of the request that it answers (PROTOCOL 10.2).
pub(super) struct Reply {
    pub(super) format: Format,
    pub(super) envelope: Envelope,
}

impl Reply {
    /// Returns whether further replies to the same request follow.
    pub(super) fn is_chunk(&self) -> bool {
        matches!(self.envelope.body, Body::StreamChunk(_))
    }
}

/// Returns what to send in place of an envelope that cannot be encoded, the best choice first
/// (PROTOCOL 7.4).
pub(super) fn replacements(envelope: &Envelope, error: &EncodeError) -> Vec<Envelope> {
    let replace = |error: WireError| Envelope::new(envelope.id.clone(), error);
    let mut replacements = Vec::new();
    if let Body::Error(original) = &envelope.body {
        // Without its details, an error may fit.
        replacements.push(replace(WireError::new(
            original.code.clone(),
            original.message.clone(),
        )));
    }
    let text = format!("The answer cannot be sent: {error}");
    replacements.push(replace(WireError::new(ErrorCode::INTERNAL_ERROR, text)));
    replacements
}
