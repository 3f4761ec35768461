//! Decodes a frame, and starts the request or refuses the frame.

use std::time::Instant;

use agentwire_codec::{
    Envelope, EnvelopeType, ErrorCode, Format, Map, RequestId, WireError,
    internal::MAX_REPEATED_LEN,
};
use agentwire_transport::{Peer, internal::LogLimit};

use super::{in_flight::InFlight, reply::Reply};
use crate::server::service::Service;

/// Decodes the payload of a frame and starts the request.
///
/// # Errors
///
/// Returns the reply that refuses the frame, if the payload is not a request for this service
/// (PROTOCOL 7.3).
pub(super) fn dispatch(
    service: &dyn Service,
    peer: &Peer,
    payload: &[u8],
) -> Result<InFlight, Box<Reply>> {
    let format = Format::detect(payload);
    let refuse = |id: RequestId, error: WireError| {
        tracing::debug!(%id, code = %error.code, "request refused");
        let envelope = Envelope::new(id, error);
        Box::new(Reply { format, envelope })
    };
    let Envelope { id, body, .. } = match service.bodies().decode(payload) {
        Ok(envelope) => envelope,
        Err(error) => {
            let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
            if let Some(count) = UNDECODABLE.record(Instant::now()) {
                tracing::warn!(%peer, %id, %error, count, "frame cannot be decoded");
            }
            // A wrong type is reported in preference to any other error of the envelope.
            return Err(match error.envelope_type() {
                Some(kind) if !service.accepts(kind) => {
                    refuse(id, not_a_request(kind, format, payload))
                }
                _ => refuse(id, error.to_wire_error()),
            });
        }
    };
    let kind = body.kind();
    if !service.accepts(kind) {
        return Err(refuse(id, not_a_request(kind, format, payload)));
    }
    match service.start(&id, body, peer) {
        Ok(work) => Ok(InFlight::new(format, id, work)),
        Err(error) => Err(refuse(id, error)),
    }
}

fn not_a_request(kind: EnvelopeType, format: Format, payload: &[u8]) -> WireError {
    let text = format!("Expected 'request' but got '{kind}'");
    let request = if payload.len() <= MAX_REPEATED_LEN {
        // The payload has already been decoded as an envelope, so it is a valid value.
        format.decode_value(payload).unwrap_or_default()
    } else {
        format!("object of {} bytes", payload.len()).into()
    };
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("request", request)]))
}

static UNDECODABLE: LogLimit = LogLimit::new();
