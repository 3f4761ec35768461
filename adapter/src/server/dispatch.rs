use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use agentwire_codec::{
    Body, Call, Envelope, EnvelopeType, ErrorCode, Execute, Format, Map, Message, Request,
    RequestId, Response, Value, WireError,
};
use async_stream::stream;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{FutureExt, StreamExt, future};

use super::service::Service;
use crate::{
    agent::{AgentError, DynAgent},
    tool::DynTool,
};

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
pub(super) fn dispatch(service: &Service, payload: &[u8]) -> Result<Answers, Box<Answer>> {
    let format = Format::detect(payload);
    let refuse = |id, error: WireError| {
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
    let answer = move |envelope| Answer { format, envelope };
    match envelope.body {
        Body::Request(Request::Process(call)) => Ok(Box::pin(
            process(Arc::clone(service.agent()), id, call).map(answer),
        )),
        Body::Request(Request::Stream(call)) => Ok(Box::pin(
            stream(Arc::clone(service.agent()), id, call).map(answer),
        )),
        Body::Request(Request::Execute(call)) => match service.tool(&call.tool_name) {
            Ok(tool) => Ok(Box::pin(execute(Arc::clone(tool), id, call).map(answer))),
            Err(error) => Err(refuse(id, error)),
        },
        Body::Request(request) => Err(refuse(id, unknown_method(request.method()))),
        other => Err(refuse(id, not_a_request(other.kind(), format, payload))),
    }
}

fn process(
    agent: Arc<dyn DynAgent>,
    id: RequestId,
    call: Call,
) -> impl Stream<Item = Envelope> + Send {
    let answer = async move {
        let answer = AssertUnwindSafe(async { agent.process(call.message).await });
        let body = match answer.catch_unwind().await {
            Ok(Ok(message)) => Response::Message(message).into(),
            Ok(Err(error)) => Body::Error(error.into_wire()),
            Err(panic) => Body::Error(panicked("agent", agent.name(), &*panic)),
        };
        Envelope::new(id, body)
    };
    answer.into_stream()
}

fn execute(
    tool: Arc<dyn DynTool>,
    id: RequestId,
    call: Execute,
) -> impl Stream<Item = Envelope> + Send {
    let answer = async move {
        let answer = AssertUnwindSafe(async { tool.execute(call.kwargs).await });
        let body = match answer.catch_unwind().await {
            Ok(Ok(result)) => Response::Tool(result).into(),
            Ok(Err(error)) => Body::Error(tool_failed(error.into_wire())),
            Err(panic) => Body::Error(tool_failed(panicked("tool", tool.name(), &*panic))),
        };
        Envelope::new(id, body)
    };
    answer.into_stream()
}

/// A tool's failure has a code of its own, unless the tool chose one.
fn tool_failed(mut error: WireError) -> WireError {
    if error.code == ErrorCode::INTERNAL_ERROR {
        error.code = ErrorCode::TOOL_EXECUTION_FAILED;
    }
    error
}

fn stream(
    agent: Arc<dyn DynAgent>,
    id: RequestId,
    call: Call,
) -> impl Stream<Item = Envelope> + Send {
    let answers = async_answers(Arc::clone(&agent), call.message);
    stream! {
        let mut answers = AssertUnwindSafe(answers).catch_unwind();
        loop {
            let end = match answers.next().await {
                Some(Ok(Ok(message))) => {
                    yield Envelope::new(id.clone(), Body::StreamChunk(message));
                    continue;
                }
                Some(Ok(Err(error))) => Body::Error(error.into_wire()),
                Some(Err(panic)) => Body::Error(panicked("agent", agent.name(), &*panic)),
                None => Body::StreamEnd,
            };
            yield Envelope::new(id, end);
            return;
        }
    }
}

/// Asks for the stream only when it is polled, so that a panic in the asking is caught, too.
fn async_answers(
    agent: Arc<dyn DynAgent>,
    message: Message,
) -> BoxStream<'static, Result<Message, AgentError>> {
    Box::pin(future::lazy(move |_| agent.stream(message)).flatten_stream())
}

/// The caller learns that it happened; where and why is for the log here.
fn panicked(what: &str, name: &str, panic: &(dyn Any + Send)) -> WireError {
    let cause = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown cause");
    tracing::error!(name, cause, "{what} panicked");
    WireError::new(ErrorCode::INTERNAL_ERROR, format!("{what} panicked"))
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
