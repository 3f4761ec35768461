//! Starts a request of an agent, and answers it.

use std::{future::poll_fn, sync::Arc, time::Duration};

use agentwire_codec::{
    Body as EnvelopeBody, Envelope, EnvelopeType, ErrorCode, Format, Map, Request, RequestId,
    Response as Answer, Value, WireError,
};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::{Instant, timeout};

use super::{
    HttpServer,
    activity::InFlight,
    body::{Events, ReplyBody, charged},
    form::Form,
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
        carrier::{headers, refusals::not_a_request},
        running::Running,
        service::Caller,
    },
};

/// A request and everything that its answer needs.
pub(super) struct Exchange {
    pub(super) http: Arc<HttpServer>,
    pub(super) caller: Arc<Caller>,
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
    /// One answer, as a bare message.
    Invoke,
    /// A stream of answers, as bare messages.
    InvokeStream,
}

impl Call {
    fn method(self) -> &'static str {
        match self {
            Self::Process | Self::Invoke => "process",
            Self::Stream | Self::InvokeStream => "stream",
            Self::Execute => "execute",
        }
    }

    fn has_stream(self) -> bool {
        self.method() == "stream"
    }

    /// Returns the form of the bodies.
    fn form(self) -> Form {
        match self {
            Self::Process | Self::Stream | Self::Execute => Form::Envelope,
            Self::Invoke | Self::InvokeStream => Form::Message,
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
        let form = call.form();
        let hints = Hints::new(headers, call.method(), form);
        let (memory, peer) = (&self.memory, &self.caller.peer);
        let received = receive(&self.http, memory, peer, headers, &hints, body).await;
        match received.and_then(|received| self.start(call, headers, received)) {
            Ok(started) if call.has_stream() => self.stream(started, form).await,
            Ok(started) => self.answer(started, form).await,
            Err(refusal) => {
                if let Some(reason) = refusal.reason {
                    let observers = &self.http.config.observers;
                    observers.report(|observer| observer.refused(&Refused::new(reason)));
                }
                if refusal.is_unread {
                    self.in_flight.activity().set_unread_body();
                }
                let response = refusal.in_form(form).into_response();
                log_message(Direction::Sent, peer, response.body().whole_bytes());
                response
            }
        }
    }

    /// Runs a request without a body, and returns the payload of its answer.
    pub(super) async fn ask(&self, headers: &HeaderMap, method: &str) -> Result<Map, Refusal> {
        let hints = Hints::new(headers, "", Form::Envelope);
        let id = hints.id.unwrap_or_else(RequestId::random);
        let request = Request::Other(Map::from([("method", method)]));
        let mut running = self.start_body(headers, id.clone(), request.into())?;
        match first(&mut running).await {
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
        let started = match with_call(body, call) {
            Ok(body) => self.start_body(headers, id, body),
            Err(error) => Err(Refusal::new(id, error)),
        };
        match started {
            Ok(running) => Ok(Started {
                format,
                running,
                charge,
            }),
            Err(refusal) => Err(refusal.in_format(format)),
        }
    }

    /// Returns the caller with the credential of the headers, or `None` if they have none. A
    /// connection that becomes a WebSocket has nothing else from its headers.
    pub(super) fn caller_of(&self, headers: &HeaderMap) -> Option<Caller> {
        let credential = Credential::from_headers(headers)?;
        Some(Caller {
            credential: Some(credential),
            ..(*self.caller).clone()
        })
    }

    fn start_body(
        &self,
        headers: &HeaderMap,
        id: RequestId,
        body: EnvelopeBody,
    ) -> Result<Running, Refusal> {
        let service = &*self.http.service;
        let kind = body.kind();
        if !service.accepts(kind) {
            let error = not_a_request(kind, Format::Json, usize::MAX, &[]);
            return Err(Refusal::new(id, error));
        }
        let caller = headers::caller(&self.caller, headers, None);
        let caller = caller.as_ref().unwrap_or(&self.caller);
        Running::start(service, id, body, caller, None).map_err(|refused| {
            let (id, error) = *refused;
            Refusal::new(id, error)
        })
    }

    /// Answers with events.
    ///
    /// The head waits for the first answer for a short time, so that a request that is refused has
    /// the status of its error, for example after its credential was checked elsewhere.
    async fn stream(self, mut started: Started, form: Form) -> Response<ReplyBody> {
        let first = poll_fn(|cx| started.running.poll_answer(cx));
        let next = timeout(FIRST_ANSWER, first).await.ok().flatten();
        let status = next.as_ref().and_then(reply::refusal_status);
        match (next, status) {
            (Some(body), Some(status)) => {
                let Started {
                    format,
                    running,
                    charge,
                } = started;
                drop(charge);
                let id = running.id();
                self.respond(id, format, body, status, form).await
            }
            (next, _) => reply::events(self.into_events(started, next, form)),
        }
    }

    fn into_events(self, started: Started, next: Option<EnvelopeBody>, form: Form) -> Events {
        let Started {
            running, charge, ..
        } = started;
        Events {
            peer: self.caller.peer.clone(),
            form,
            running,
            next,
            memory: self.memory,
            limit: self.http.config.frame_limits.max_send(),
            observers: self.http.config.observers.clone(),
            encoding: None,
            last: Instant::now(),
            timer: Default::default(),
            rest: Bytes::new(),
            in_flight: Some(self.in_flight),
            _charge: charge,
        }
    }

    /// Waits for the only answer to a request.
    async fn answer(self, started: Started, form: Form) -> Response<ReplyBody> {
        let Started {
            format,
            mut running,
            charge,
        } = started;
        let body = first(&mut running).await;
        // The agent has consumed the request.
        drop(charge);
        let status = reply::code_of(&body).map_or(StatusCode::OK, |code| reply::status_of(&code));
        let id = running.id();
        self.respond(id, format, body, status, form).await
    }

    async fn respond(
        self,
        id: &RequestId,
        format: Format,
        body: EnvelopeBody,
        mut status: StatusCode,
        form: Form,
    ) -> Response<ReplyBody> {
        let limit = self.http.config.frame_limits.max_send();
        let mut headers = HeaderMap::new();
        if let EnvelopeBody::Error(error) = &body {
            reply::put_hints(&mut headers, error);
        }
        let body = form.prepare(body);
        let encoded = match self.encode(id, format, body, limit).await {
            Ok(encoded) => encoded,
            Err(error) => {
                status = reply::status_of(&error.code);
                let envelope = Envelope::new(id.clone(), form.prepare(error.into()));
                let mut encoded = vec![0; HEADER];
                // An error with a short text can always be encoded.
                let _ = format.encode(&envelope, &mut encoded);
                encoded
            }
        };
        let part = form.part_of(&encoded[HEADER..]);
        let sent = part.len() as u64;
        let message = &encoded[HEADER + part.start..HEADER + part.end];
        log_message(Direction::Sent, &self.caller.peer, message);
        let observers = &self.http.config.observers;
        observers.report(|observer| observer.bytes_sent(Side::Server, sent));
        let mut in_flight = self.in_flight;
        in_flight.answered();
        let grant = self.memory.for_answer(encoded.capacity());
        let bytes = charged(encoded, grant, Some(in_flight));
        let bytes = bytes.slice(HEADER + part.start..HEADER + part.end);
        let body = ReplyBody::whole(bytes);
        let mut response = reply::in_format(format, status, body);
        response.headers_mut().extend(headers);
        reply::put_id(response.headers_mut(), id);
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
            tracing::debug!(%id, %error, "reply cannot be encoded; sending an error");
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
    format: Format,
    running: Running,
    charge: Grant,
}

/// Returns the only answer to a request.
async fn first(running: &mut Running) -> EnvelopeBody {
    let body = poll_fn(|cx| running.poll_answer(cx)).await;
    let body = body.unwrap_or(EnvelopeBody::StreamEnd);
    match body.kind() {
        EnvelopeType::StreamChunk | EnvelopeType::StreamEnd => {
            running.end();
            tracing::debug!(id = %running.id(), "a stream was asked for one answer");
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
        (Call::Process | Call::Invoke, EnvelopeBody::Request(Request::Stream(message))) => {
            Request::Process(message).into()
        }
        (Call::Stream | Call::InvokeStream, EnvelopeBody::Request(Request::Process(message))) => {
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

/// How long the head of a stream waits for the first answer.
const FIRST_ANSWER: Duration = Duration::from_secs(1);
