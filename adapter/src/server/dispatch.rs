use std::sync::Arc;

use agentwire_codec::{Envelope, EnvelopeType, ErrorCode, Format, Map, RequestId, WireError};
use agentwire_transport::Peer;

use super::{
    in_flight::{Answer, InFlight},
    service::Service,
};

/// Begins to work on what a frame asks for.
///
/// # Errors
///
/// The envelope that answers a frame that asks for nothing that can be done here (PROTOCOL 7.3).
pub(super) fn dispatch(
    service: &dyn Service,
    peer: &Arc<Peer>,
    payload: &[u8],
) -> Result<InFlight, Box<Answer>> {
    let format = Format::detect(payload);
    let refuse = |id: RequestId, error: WireError| {
        tracing::debug!(%id, code = %error.code, "request refused");
        let envelope = Envelope::new(id, error);
        Box::new(Answer { format, envelope })
    };
    let Envelope { id, body, .. } = match format.decode(payload) {
        Ok(envelope) => envelope,
        Err(error) => {
            let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
            // The wrong type comes before what is wrong with its payload.
            return Err(match error.envelope_type() {
                Some(kind) if !service.takes(kind) => {
                    refuse(id, not_a_request(kind, format, payload))
                }
                _ => refuse(id, error.to_wire_error()),
            });
        }
    };
    let kind = body.kind();
    if !service.takes(kind) {
        return Err(refuse(id, not_a_request(kind, format, payload)));
    }
    match service.start(&id, body, peer) {
        Ok(work) => Ok(InFlight::new(format, id, work)),
        Err(error) => Err(refuse(id, error)),
    }
}

fn not_a_request(kind: EnvelopeType, format: Format, payload: &[u8]) -> WireError {
    let text = format!("Expected 'request' but got '{kind}'");
    // It has just been decoded, so it is a value of this format.
    let request = format.decode_value(payload).unwrap_or_default();
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("request", request)]))
}
