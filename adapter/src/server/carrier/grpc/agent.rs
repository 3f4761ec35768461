//! The calls to agents, tools and registries: `agenkit.AgentService`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use agentwire_codec::{Body, EncodeError, Envelope, ErrorCode, FrameError, RequestId, WireError};
use agentwire_proto::{Response, Rpc, StreamChunk};
use agentwire_transport::internal::LogLimit;
use bytes::Bytes;
use futures_util::StreamExt;
use http::request::Parts;
use tokio::time::Instant;

use super::{
    call::{Answer, Context, Outcome, deadline, has_passed, reached},
    request::{Received, Unread, read},
};
use crate::{
    connection::{MAX_SMALL, Offload, approximate_memory, is_costly},
    grpc::{Code, Kind, MessageReader, Status, frame, log_sent},
    observer::{Refusal, Side},
    server::{
        carrier::{headers, memory::Grant, refusals::stopping},
        service::Work,
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
    let (id, started, memory) = match received {
        Ok(Received { envelope, memory }) => {
            let (id, started) = start(envelope, parts, deadline, context);
            (id, started, Some(memory))
        }
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
            (RequestId::unknown(), Err(error), None)
        }
    };
    let outcome = match started {
        Ok(_) => Outcome::Accepted,
        Err(_) => Outcome::Refused,
    };
    let mut running = Running {
        rpc,
        id,
        work: Some(match started {
            Ok(work) => work,
            Err(error) => Work::One(Box::pin(std::future::ready(error.into()))),
        }),
    };
    answer_all(&mut running, answer, deadline, memory, context).await;
    outcome
}

/// Sends all answers of the work.
async fn answer_all(
    running: &mut Running,
    mut answer: Answer,
    deadline: Option<Instant>,
    mut request: Option<Grant>,
    context: &Arc<Context>,
) {
    if running.rpc == Rpc::ProcessStream && answer.stream().is_err() {
        return;
    }
    loop {
        let body = tokio::select! {
            biased;
            () = answer.cancelled() => return,
            // An answer that is ready needs no timer.
            body = running.next() => body,
            () = reached(deadline) => None,
        };
        // The work ends at the same deadline, with an error that would be an answer.
        if has_passed(deadline) {
            answer.end(&deadline_exceeded());
            return;
        }
        let Some(body) = body else {
            // A stream of a service always ends with an end or an error.
            answer.end(&Status::OK);
            return;
        };
        let is_last = running.is_last(&body);
        if is_last {
            // The agent has consumed the request.
            request = None;
        }
        let (message, held) = encode(running.rpc, &running.id, body, context).await;
        let kind = match running.rpc {
            Rpc::Process => Kind::Response(""),
            Rpc::ProcessStream => Kind::Chunk,
        };
        log_sent(&context.caller.peer, kind, &message);
        let sent = message.len() as u64;
        let observers = &context.config.observers;
        observers.report(|observer| observer.bytes_sent(Side::Server, sent));
        if let Err(error) = answer.message(message).await {
            answer.give_up(&error);
            return;
        }
        drop(held);
        if is_last {
            drop(request);
            answer.end(&Status::OK);
            return;
        }
    }
}

/// Starts a request.
fn start(
    envelope: Result<Envelope, agentwire_codec::DecodeError>,
    parts: &Parts,
    deadline: Option<Instant>,
    context: &Context,
) -> (RequestId, Result<Work, WireError>) {
    let refuse = |id: RequestId, error: WireError| {
        tracing::debug!(%id, code = %error.code, "request refused");
        (id, Err(error))
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
            return refuse(id, error.to_wire_error());
        }
    };
    let kind = body.kind();
    if !context.service.accepts(kind) {
        let text = format!("Expected 'request' but got '{kind}'");
        return refuse(id, WireError::new(ErrorCode::INVALID_MESSAGE, text));
    }
    if context.is_draining() {
        report_refusal(context, "stopping");
        return refuse(id, stopping());
    }
    let caller = headers::caller(&context.caller, &parts.headers, deadline);
    let caller = caller.as_ref().unwrap_or(&context.caller);
    match context.service.start(&id, body, caller) {
        Ok(work) => (id, Ok(work)),
        Err(error) => refuse(id, error),
    }
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
            tracing::debug!(%id, %error, "answer cannot be encoded; sending an error");
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
        tracing::warn!(%id, count, "answer replaced by an error: the memory budget is used up");
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

/// The work of a service for one call.
struct Running {
    rpc: Rpc,
    id: RequestId,
    /// `None` while the call is being dropped.
    work: Option<Work>,
}

impl Running {
    /// Waits for the next answer.
    async fn next(&mut self) -> Option<Body> {
        match self.work.as_mut()? {
            Work::One(answer) => {
                let body = answer.await;
                Some(body)
            }
            Work::Many(answers) => answers.next().await,
        }
    }

    /// Returns whether no answer follows this one.
    fn is_last(&self, body: &Body) -> bool {
        use agentwire_codec::EnvelopeType::StreamChunk;
        self.rpc == Rpc::Process || body.kind() != StreamChunk
    }
}

/// Catches a panic while the future of the agent is dropped. The panic must not affect other calls
/// of the connection.
impl Drop for Running {
    fn drop(&mut self) {
        let work = self.work.take();
        if catch_unwind(AssertUnwindSafe(|| drop(work))).is_err() {
            if let Some(count) = PANICS.record(Instant::now().into_std()) {
                tracing::error!(id = %self.id, count, "request panicked while it was dropped");
            }
        }
    }
}

static PANICS: LogLimit = LogLimit::new();
static STARVED: LogLimit = LogLimit::new();
static UNDECODABLE: LogLimit = LogLimit::new();
