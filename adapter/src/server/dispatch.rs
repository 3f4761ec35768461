use std::{sync::Arc, time::Duration};

use agentwire_codec::{
    Body, Envelope, EnvelopeType, ErrorCode, Format, Map, Request, RequestId, Value, WireError,
};
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use super::{job::Job, service::Service};

/// What answers one request: one envelope, or chunks and an end.
pub(super) type Answers = BoxStream<'static, Answer>;

/// An envelope in the format in which it was asked for (PROTOCOL 10.2).
pub(super) struct Answer {
    pub(super) format: Format,
    pub(super) envelope: Envelope,
}

/// Decides what a frame asks for.
///
/// # Errors
///
/// The envelope that answers a frame that asks for nothing that can be done here (PROTOCOL 7.3).
pub(super) fn dispatch(
    service: &Service,
    handler_timeout: Option<Duration>,
    payload: &[u8],
) -> Result<Answers, Box<Answer>> {
    let format = Format::detect(payload);
    let refuse = |id: RequestId, error: WireError| {
        tracing::debug!(%id, code = %error.code, "request refused");
        let envelope = Envelope::new(id, error);
        Box::new(Answer { format, envelope })
    };
    let envelope = match format.decode(payload) {
        Ok(envelope) => envelope,
        Err(error) => {
            let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
            // The wrong type comes before what is wrong with its payload.
            return Err(match error.envelope_type() {
                Some(kind) if kind != EnvelopeType::Request => {
                    refuse(id, not_a_request(kind, format, payload))
                }
                _ => refuse(id, error.to_wire_error()),
            });
        }
    };
    let id = envelope.id;
    let request = match envelope.body {
        Body::Request(request) => request,
        other => return Err(refuse(id, not_a_request(other.kind(), format, payload))),
    };
    match start(service, handler_timeout, &id, request) {
        Ok(bodies) => Ok(Box::pin(bodies.map(move |body| Answer {
            format,
            envelope: Envelope::new(id.clone(), body),
        }))),
        Err(error) => Err(refuse(id, error)),
    }
}

fn start(
    service: &Service,
    handler_timeout: Option<Duration>,
    id: &RequestId,
    request: Request,
) -> Result<BoxStream<'static, Body>, WireError> {
    let job = |kind, name: &str, method: &'static str| {
        let span = tracing::debug_span!("request", %id, method, name);
        Job::new(kind, name, span, handler_timeout)
    };
    Ok(match request {
        Request::Process(call) => {
            let agent = Arc::clone(service.agent(&call.agent_name)?);
            let job = job("agent", agent.name(), "process");
            Box::pin(job.process(agent, call.message))
        }
        Request::Stream(call) => {
            let agent = Arc::clone(service.agent(&call.agent_name)?);
            let job = job("agent", agent.name(), "stream");
            Box::pin(job.stream(agent, call.message))
        }
        Request::Execute(call) => {
            let tool = Arc::clone(service.tool(&call.tool_name)?);
            let job = job("tool", tool.name(), "execute");
            Box::pin(job.execute(tool, call.kwargs))
        }
        request => return Err(unknown_method(request.method())),
    })
}

fn unknown_method(method: Value) -> WireError {
    let text = format!("Unknown method: {}", method.to_plain_text());
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("method", method)]))
}

fn not_a_request(kind: EnvelopeType, format: Format, payload: &[u8]) -> WireError {
    let text = format!("Expected 'request' but got '{kind}'");
    // It has just been decoded, so it is a value of this format.
    let request = format.decode_value(payload).unwrap_or_default();
    WireError::new(ErrorCode::INVALID_MESSAGE, text).with_details(Map::from([("request", request)]))
}
