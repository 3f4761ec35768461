//! The calls to agents, tools and registries: `agenkit.AgentService`.

use std::{future::poll_fn, sync::Arc};

use agentwire_codec::{Body, EncodeError, Envelope, ErrorCode, FrameError, RequestId, WireError};
use agentwire_proto::{Response, Rpc, StreamChunk};
use agentwire_transport::internal::LogLimit;
use bytes::Bytes;
use http::request::Parts;
use tokio::time::Instant;

use super::{
    call::{Answer, Context, Outcome, deadline, has_passed, reached},
    request::{Received, Unread, read},
};
use crate::{
    connection::{MAX_SMALL, Offload, approximate_memory, is_costly},
    grpc::{Code, Kind, MessageReader, SendError, Status, frame, log_sent},
    observer::{Refusal, Side},
    server::{
        carrier::{headers, memory::Grant, refusals::stopping},
        running::Running,
    },
};

/// Serves a call. Whatever happens to the request, the call is answered, unless its caller goes
/// away.
pub(super) async fn serve(
    rpc: Rpc,
    parts: &Parts,
    mut reader: MessageReader,
    mut answer: Answer,
    context: &Arc<Context>,
) -> Outcome {
    let deadline = deadline(&parts.headers);
    // A request that has arrived needs no timer.
    let received = tokio::select! {
        biased;
        () = answer.cancelled() => return Outcome::Refused,
        received = read(&mut reader, rpc, context) => received,
        () = reached(deadline) => Err(deadline_exceeded().into()),
    };
    let received = match received {
        Ok(_) if has_passed(deadline) => Err(deadline_exceeded().into()),
        received => received,
    };
    let (running, memory) = match received {
        Ok(Received { envelope, memory }) => match start(envelope, parts, deadline, context) {
            Ok(running) => (running, memory),
            Err(refused) => {
                drop(memory);
                let (id, error) = *refused;
                refuse(rpc, &id, error, answer, context).await;
                return Outcome::Refused;
            }
        },
        Err(Unread::Gone) => return Outcome::Refused,
        Err(Unread::Status(status)) => {
            tracing::debug!(%status, "call refused");
            report_refusal(
                context,
                match status.code {
                    Code::ResourceExhausted => "frame_size",
                    Code::DeadlineExceeded => "timeout",
                    _ => "protocol",
                },
            );
            answer.end(&status);
            return Outcome::Refused;
        }
        Err(Unread::Refused(error)) => {
            report_refusal(context, "memory");
            refuse(rpc, &RequestId::unknown(), error, answer, context).await;
            return Outcome::Refused;
        }
    };
    answer_all(rpc, running, answer, deadline, memory, context).await;
    Outcome::Accepted
}

/// Sends all answers of a request.
async fn answer_all(
    rpc: Rpc,
    mut running: Running,
    mut answer: Answer,
    deadline: Option<Instant>,
    request: Grant,
    context: &Context,
) {
    let mut request = Some(request);
    if rpc == Rpc::ProcessStream && answer.stream().is_err() {
        return;
    }
    loop {
        let body = tokio::select! {
            biased;
            () = answer.cancelled() => return,
            // An answer that is ready needs no timer.
            body = poll_fn(|cx| running.poll_answer(cx)) => body,
            () = reached(deadline) => None,
        };
        // The work ends at the same deadline, with an error that would be an answer.
        if has_passed(deadline) {
            answer.end(&deadline_exceeded());
            return;
        }
        let Some(body) = body else {
            answer.end(&Status::OK);
            return;
        };
        let is_last = rpc == Rpc::Process || running.has_ended();
        if is_last {
            // The agent has consumed the request.
            request = None;
        }
        if let Err(error) = send(rpc, running.id(), body, &mut answer, context).await {
            answer.give_up(&error);
            return;
        }
        if is_last {
            drop(request);
            answer.end(&Status::OK);
            return;
        }
    }
}

/// Answers a request that was not started.
async fn refuse(rpc: Rpc, id: &RequestId, error: WireError, mut answer: Answer, context: &Context) {
    match send(rpc, id, error.into(), &mut answer, context).await {
        Ok(()) => answer.end(&Status::OK),
        Err(error) => answer.give_up(&error),
    }
}

/// Sends an answer.
async fn send(
    rpc: Rpc,
    id: &RequestId,
    body: Body,
    answer: &mut Answer,
    context: &Context,
) -> Result<(), SendError> {
    let (message, held) = encode(rpc, id, body, context).await;
    let kind = match rpc {
        Rpc::Process => Kind::Response(""),
        Rpc::ProcessStream => Kind::Chunk,
    };
    log_sent(&context.caller.peer, kind, &message);
    let sent = message.len() as u64;
    let observers = &context.config.observers;
    observers.report(|observer| observer.bytes_sent(Side::Server, sent));
    let sent = answer.message(message).await;
    drop(held);
    sent
}

/// Starts a request.
fn start(
    envelope: Result<Envelope, agentwire_codec::DecodeError>,
    parts: &Parts,
    deadline: Option<Instant>,
    context: &Context,
) -> Result<Running, Box<(RequestId, WireError)>> {
    let refuse = |id: RequestId, error: WireError| {
        tracing::debug!(%id, code = %error.code, "request refused");
        Box::new((id, error))
    };
    let Envelope { id, body, .. } = match envelope {
        Ok(envelope) => envelope,
        Err(error) => {
            let id = error.id().cloned().unwrap_or_else(RequestId::unknown);
            if let Some(count) = UNDECODABLE.record(Instant::now().into_std()) {
                let peer = &context.caller.peer;
                tracing::warn!(%peer, %id, %error, count, "request cannot be decoded");
            }
            report_refusal(context, "malformed");
            return Err(refuse(id, error.to_wire_error()));
        }
    };
    let kind = body.kind();
    if !context.service.accepts(kind) {
        let text = format!("Expected 'request' but got '{kind}'");
        return Err(refuse(id, WireError::new(ErrorCode::INVALID_MESSAGE, text)));
    }
    if context.is_draining() {
        report_refusal(context, "stopping");
        return Err(refuse(id, stopping()));
    }
    let caller = headers::caller(&context.caller, &parts.headers, deadline);
    let caller = caller.as_ref().unwrap_or(&context.caller);
    Running::start(&*context.service, id, body, caller, None).map_err(|refused| {
        let (id, error) = *refused;
        refuse(id, error)
    })
}

fn report_refusal(context: &Context, reason: &'static str) {
    let observers = &context.config.observers;
    observers.report(|observer| observer.refused(&Refusal::new(reason)));
}

/// Encodes an answer. An answer that cannot be sent becomes an error that says why.
async fn encode(rpc: Rpc, id: &RequestId, body: Body, context: &Context) -> (Bytes, Option<Grant>) {
    let max = context.config.grpc_max_message;
    // The answer and its encoded form exist at the same time.
    let memory = approximate_memory(&body, max).saturating_mul(2);
    let held = if memory > MAX_SMALL {
        match context.memory.for_answer(memory) {
            Some(held) => Some(held),
            None => return (encode_error(rpc, id, out_of_memory(id)), None),
        }
    } else {
        None
    };
    let envelope = Envelope::new(id.clone(), body);
    let encoded = if is_costly(&envelope.body) {
        Offload::new(move || encode_envelope(rpc, envelope, max)).await
    } else {
        encode_envelope(rpc, envelope, max)
    };
    match encoded {
        Ok(message) => (message, held),
        Err(error) => {
            tracing::debug!(%id, %error, "reply cannot be encoded; sending an error");
            let text = format!("The answer cannot be sent: {error}");
            let error = WireError::new(ErrorCode::INTERNAL_ERROR, text);
            (encode_error(rpc, id, error), None)
        }
    }
}

fn encode_error(rpc: Rpc, id: &RequestId, error: WireError) -> Bytes {
    // Encoding fails only for the values of details, which an error of this carrier does not have.
    encode_envelope(rpc, Envelope::new(id.clone(), error), usize::MAX).unwrap_or_default()
}

fn encode_envelope(rpc: Rpc, envelope: Envelope, max: usize) -> Result<Bytes, EncodeError> {
    let framed = match rpc {
        Rpc::Process => frame(&Response::from_envelope(envelope)?, max),
        Rpc::ProcessStream => frame(&StreamChunk::from_envelope(envelope)?, max),
    };
    framed.map_err(|len| FrameError::TooLarge { len, max }.into())
}

fn out_of_memory(id: &RequestId) -> WireError {
    if let Some(count) = STARVED.record(Instant::now().into_std()) {
        tracing::warn!(%id, count, "reply replaced by an error: the memory budget is used up");
    }
    let text = "The answer cannot be sent: the memory budget of the server is used up";
    WireError::new(ErrorCode::INTERNAL_ERROR, text)
}

fn deadline_exceeded() -> Status {
    Status::new(
        Code::DeadlineExceeded,
        "the deadline of the caller has passed",
    )
}

static STARVED: LogLimit = LogLimit::new();
static UNDECODABLE: LogLimit = LogLimit::new();
