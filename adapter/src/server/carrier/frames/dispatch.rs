//! Starts or refuses the request in a decoded frame.

use agentwire_codec::{Envelope, EnvelopeType, RequestId, WireError};
use agentwire_transport::internal::LogLimit;
use tokio::time::Instant;

use super::{in_flight::InFlight, reply::Reply};
use crate::{
    connection::Decoded,
    server::{
        carrier::refusals::{not_a_request, stopping},
        running::Running,
        service::{Caller, Service},
    },
};

/// A frame that is refused.
pub(super) struct Refused {
    /// The reason for observers, or `None` if the service refused the request.
    pub(super) reason: Option<&'static str>,
    pub(super) reply: Reply,
}

/// Starts the request in a decoded payload. For a large payload, `payload` may be empty. The time
/// of the arrival is for observers.
///
/// # Errors
///
/// Returns an error if the payload is not a request for this service (PROTOCOL 7.3) or the
/// server is stopping (PROTOCOL 8.4).
pub(super) fn dispatch(
    service: &dyn Service,
    caller: &Caller,
    decoded: Decoded,
    payload: &[u8],
    is_stopping: bool,
    arrival: Option<Instant>,
) -> Result<InFlight, Box<Refused>> {
    let Decoded { format, len, .. } = decoded;
    let refuse = |reason: Option<&'static str>, id: RequestId, error: WireError| {
        tracing::debug!(%id, code = %error.code, "request refused");
        let envelope = Envelope::new(id, error);
        let reply = Reply { format, envelope };
        Box::new(Refused { reason, reply })
    };
    let Envelope { id, body, .. } = match decoded.envelope {
        Ok(envelope) => envelope,
        Err(error) => {
            let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
            if let Some(count) = UNDECODABLE.record(Instant::now().into_std()) {
                let peer = &caller.peer;
                tracing::warn!(%peer, %id, %error, count, "frame cannot be decoded");
            }
            // If the envelope has several errors, a wrong type is reported first.
            return Err(match error.envelope_type() {
                Some(kind) if !service.accepts(kind) => {
                    refuse(MALFORMED, id, not_a_request(kind, format, len, payload))
                }
                _ => refuse(MALFORMED, id, error.to_wire_error()),
            });
        }
    };
    let kind = body.kind();
    if !service.accepts(kind) {
        let error = not_a_request(kind, format, len, payload);
        // A client pings an agent with a heartbeat. The answer shows that the server is alive.
        let reason = MALFORMED.filter(|_| kind != EnvelopeType::Heartbeat);
        return Err(refuse(reason, id, error));
    }
    if is_stopping {
        return Err(refuse(Some("stopping"), id, stopping()));
    }
    Running::start(service, id, body, caller, arrival)
        .map(|running| InFlight::new(format, running))
        .map_err(|refused| {
            let (id, error) = *refused;
            refuse(None, id, error)
        })
}

const MALFORMED: Option<&str> = Some("malformed");
static UNDECODABLE: LogLimit = LogLimit::new();
