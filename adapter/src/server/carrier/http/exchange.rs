//! Starts a request of an agent, and answers it.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant as StdInstant,
};

use agentwire_codec::{
    Body as EnvelopeBody, Envelope, EnvelopeType, ErrorCode, Format, Map, Request, RequestId,
    Response as Answer, Value, WireError,
};
use agentwire_transport::internal::LogLimit;
use futures_util::StreamExt;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::Instant;

use super::{
    HttpServer,
    activity::InFlight,
    body::{Events, ReplyBody, charged},
    reply::{self, Refusal},
    request::{Hints, Received, receive},
};
use crate::server::carrier::memory::{Grant, Memory};
use crate::{
    Credential,
    connection::{
        Offload, approximate_memory,
        frame_log::{Direction, log_message},
        is_costly,
    },
    observer::{Refusal as Refused, Side},
    server::{
        carrier::refusals::not_a_request,
        service::{Caller, Work},
    },
};

/// A request and everything that its answer needs.
pub(super) struct Exchange {
    pub(super) http: Arc<HttpServer>,
    pub(super) caller: Caller,
    pub(super) memory: Memory,
    pub(super) in_flight: InFlight,
}

/// What the path of a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// One answer.
    Process,
    /// A stream of answers.
    Stream,
    /// The result of a tool.
    Execute,
}

impl Call {
    fn method(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Stream => "stream",
            Self::Execute => "execute",
        }
    }
}

impl Exchange {
    /// Reads the body, starts the request and answers it.
    pub(super) async fn run<B>(
        self,
        call: Call,
        headers: &HeaderMap,
        body: B,
    ) -> Response<ReplyBody>
    where
        B: http_body::Body,
        B::Error: std::fmt::Display,
    {
        let hints = Hints::new(headers, call.method());
        let (memory, peer) = (&self.memory, &self.caller.peer);
        let received = receive(&self.http, memory, peer, headers, &hints, body).await;
        match received.and_then(|received| self.start(call, headers, received)) {
            Ok(started) if call == Call::Stream => reply::events(self.into_events(started)),
            Ok(started) => self.answer(started).await,
            Err(refusal) => {
                if let Some(reason) = refusal.reason {
                    let observers = &self.http.config.observers;
                    observers.report(|observer| observer.refused(&Refused::new(reason)));
                }
                if refusal.is_unread {
                    self.in_flight.activity().set_unread_body();
                }
                let response = refusal.into_response();
                log_message(Direction::Sent, peer, response.body().whole_bytes());
                response
            }
        }
    }

    /// Runs a request without a body, and returns the payload of its answer.
    pub(super) async fn ask(&self, headers: &HeaderMap, method: &str) -> Result<Map, Refusal> {
        let id = Hints::new(headers, "").id.unwrap_or_else(RequestId::random);
        let request = Request::Other(Map::from([("method", method)]));
        let started = self.start_body(headers, &id, request.into());
        let work = started.map_err(|error| Refusal::new(id.clone(), error))?;
        match first(&id, work).await {
            EnvelopeBody::Response(Answer::Other(payload)) => Ok(payload),
            EnvelopeBody::Raw(raw) if raw.kind == EnvelopeType::Response => Ok(raw.payload),
            EnvelopeBody::Error(error) => Err(Refusal::new(id, error)),
            body => {
                let code = reply::code_of(&body).unwrap_or(ErrorCode::INTERNAL_ERROR);
                let text = "The server does not describe itself";
                Err(Refusal::new(id, WireError::new(code, text)))
            }
        }
    }

    fn start(
        &self,
        call: Call,
        headers: &HeaderMap,
        received: Received,
    ) -> Result<Started, Refusal> {
        let Received {
            envelope,
            format,
            charge,
        } = received;
        let Envelope { id, body, .. } = envelope;
        let work = with_call(body, call).and_then(|body| self.start_body(headers, &id, body));
        match work {
            Ok(work) => Ok(Started {
                id,
                format,
                work,
                charge,
            }),
            Err(error) => Err(Refusal::new(id, error)),
        }
    }

    fn start_body(
        &self,
        headers: &HeaderMap,
        id: &RequestId,
        body: EnvelopeBody,
    ) -> Result<Guarded, WireError> {
        let service = &*self.http.service;
        let kind = body.kind();
        if !service.accepts(kind) {
            return Err(not_a_request(kind, Format::Json, usize::MAX, &[]));
        }
        let work = match Credential::from_headers(headers) {
            None => service.start(id, body, &self.caller),
            credential => {
                let mut caller = self.caller.clone();
                caller.credential = credential;
                service.start(id, body, &caller)
            }
        };
        work.map(|work| Guarded(Some(work)))
    }

    fn into_events(self, started: Started) -> Events {
        let Started {
            id, work, charge, ..
        } = started;
        Events {
            id,
            peer: self.caller.peer,
            work,
            memory: self.memory,
            limit: self.http.config.frame_limits.max_send(),
            observers: self.http.config.observers.clone(),
            encoding: None,
            last: Instant::now(),
            timer: Default::default(),
            _in_flight: self.in_flight,
            _charge: charge,
        }
    }

    /// Waits for the only answer to a request.
    async fn answer(self, started: Started) -> Response<ReplyBody> {
        let Started {
            id,
            format,
            work,
            charge,
        } = started;
        let body = first(&id, work).await;
        // The agent has consumed the request.
        drop(charge);
        let limit = self.http.config.frame_limits.max_send();
        let mut status =
            reply::code_of(&body).map_or(StatusCode::OK, |code| reply::status_of(&code));
        let mut headers = HeaderMap::new();
        if let EnvelopeBody::Error(error) = &body {
            reply::put_hints(&mut headers, error);
        }
        let body = reply::for_http(body);
        let encoded = match self.encode(&id, format, body, limit).await {
            Ok(encoded) => encoded,
            Err(error) => {
                status = reply::status_of(&error.code);
                let envelope = Envelope::new(id.clone(), reply::for_http(error.into()));
                let mut encoded = vec![0; HEADER];
                // An error with a short text can always be encoded.
                let _ = format.encode(&envelope, &mut encoded);
                encoded
            }
        };
        log_message(Direction::Sent, &self.caller.peer, &encoded[HEADER..]);
        let sent = (encoded.len() - HEADER) as u64;
        let observers = &self.http.config.observers;
        observers.report(|observer| observer.bytes_sent(Side::Server, sent));
        let mut in_flight = self.in_flight;
        in_flight.answered();
        let grant = self.memory.for_answer(encoded.capacity());
        let bytes = charged(encoded, grant, Some(in_flight)).slice(HEADER..);
        let body = ReplyBody::whole(bytes);
        let mut response = match format {
            Format::MessagePack => reply::with_type(status, "application/msgpack", body),
            _ => reply::json(status, body),
        };
        response.headers_mut().extend(headers);
        reply::put_id(response.headers_mut(), &id);
        response
    }

    /// Encodes an answer behind the space for the header of a frame.
    async fn encode(
        &self,
        id: &RequestId,
        format: Format,
        body: EnvelopeBody,
        limit: usize,
    ) -> Result<Vec<u8>, WireError> {
        let costly = is_costly(&body);
        let memory = if costly {
            approximate_memory(&body, limit).saturating_mul(2)
        } else {
            0
        };
        let envelope = Envelope::new(id.clone(), body);
        let encode = move || {
            let mut buffer = Vec::new();
            let encoded = format.put_frame(&envelope, limit, &mut buffer);
            encoded.map(|()| buffer)
        };
        let encoded = if costly {
            let Some(grant) = self.memory.for_answer(memory) else {
                return Err(reply::out_of_memory(id));
            };
            let encoded = Offload::new(encode).await;
            drop(grant);
            encoded
        } else {
            encode()
        };
        let encoded = encoded.map_err(|error| {
            tracing::debug!(%id, %error, "answer cannot be encoded; sending an error");
            reply::unsendable(&error)
        })?;
        match self.memory.for_answer(encoded.capacity()) {
            Some(_) => Ok(encoded),
            None => Err(reply::out_of_memory(id)),
        }
    }
}

/// A request that the service is processing.
struct Started {
    id: RequestId,
    format: Format,
    work: Guarded,
    charge: Grant,
}

/// The work of a request. A panic while the future of the agent is dropped does not end the
/// connection.
pub(super) struct Guarded(Option<Work>);

impl Guarded {
    /// Returns the work, or `None` after [`end`](Self::end).
    pub(super) fn get(&mut self) -> Option<&mut Work> {
        self.0.as_mut()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.is_none()
    }

    /// Drops the work.
    pub(super) fn end(&mut self) {
        let work = mem::take(&mut self.0);
        if catch_unwind(AssertUnwindSafe(|| drop(work))).is_err() {
            if let Some(count) = PANICS.record(StdInstant::now()) {
                tracing::error!(count, "request panicked while it was dropped");
            }
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns the only answer to a request.
async fn first(id: &RequestId, mut work: Guarded) -> EnvelopeBody {
    let body = match work.get() {
        Some(Work::One(answer)) => answer.as_mut().await,
        Some(Work::Many(answers)) => answers.next().await.unwrap_or(EnvelopeBody::StreamEnd),
        None => EnvelopeBody::StreamEnd,
    };
    match body.kind() {
        EnvelopeType::StreamChunk | EnvelopeType::StreamEnd => {
            tracing::debug!(%id, "a stream was asked for one answer");
            let text = "The request is answered with a stream; send it to /stream";
            WireError::new(ErrorCode::INVALID_MESSAGE, text).into()
        }
        _ => body,
    }
}

/// Changes the method of the request to that of its path. Python's clients and servers also ignore
/// the method in the body.
fn with_call(body: EnvelopeBody, call: Call) -> Result<EnvelopeBody, WireError> {
    Ok(match (call, body) {
        (Call::Process, EnvelopeBody::Request(Request::Stream(message))) => {
            Request::Process(message).into()
        }
        (Call::Stream, EnvelopeBody::Request(Request::Process(message))) => {
            Request::Stream(message).into()
        }
        (Call::Execute, EnvelopeBody::Request(request)) if request.method() != Some("execute") => {
            let text = "The path /execute is for the method execute";
            return Err(WireError::new(ErrorCode::INVALID_MESSAGE, text));
        }
        (call, EnvelopeBody::Raw(mut raw)) if raw.kind == EnvelopeType::Request => {
            let method = raw.payload.get("method").and_then(Value::as_str);
            let is_message = matches!(method, None | Some("process" | "stream"));
            if is_message && method != Some(call.method()) {
                raw.payload.insert("method", call.method());
            }
            EnvelopeBody::Raw(raw)
        }
        (_, body) => body,
    })
}

/// The length of the header of a frame, which is cut off.
const HEADER: usize = agentwire_codec::HEADER_LEN;

static PANICS: LogLimit = LogLimit::new();
