//! Calls: unary ones, streams, and the check whether a server is alive.

use std::{fmt, sync::Arc};

use agentwire_codec::{Body, DEFAULT_MEMORY_LIMIT, DecodeError, Envelope, TraceContext};
use agentwire_proto::{Response, Rpc, StreamChunk, decode, health::HealthCheckRequest, into_raw};
use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, HeaderValue, header};
use tokio::time::{Instant, timeout_at};

use super::{
    connection::{Owner, Slot},
    connections::Connections,
    failure::{from_h2, from_status, is_refused, malformed, violation},
    heads::Procedure,
};
use crate::{
    client::{
        channel::{deadlines::Deadlines, failure::Failure, http2, request::Request},
        permits::Permit,
    },
    connection::{Bodies, MAX_INLINE, Offload},
    error::Phase,
    grpc::{
        self, Encoding, Kind, MessageReader, ReadError, Status, frame, is_grpc, log_received,
        log_sent, write_timeout,
    },
    trace,
};

/// The answers to a streaming request. Dropping this value cancels the call.
pub(in crate::client) struct Chunks {
    all: Arc<Connections>,
    reader: MessageReader,
    slot: Slot,
    _permit: Permit,
}

/// What is sent in a call.
struct Outgoing<'a> {
    procedure: Procedure,
    message: Bytes,
    trace: Option<&'a TraceContext>,
    /// When the server can stop working, if the caller does not wait longer.
    deadline: Option<Instant>,
    until: Instant,
}

/// A call whose answer has begun.
struct Begun {
    reader: MessageReader,
    /// The status of an answer without messages.
    status: Option<Status>,
}

/// Sends a request and waits for its only answer.
pub(super) async fn call(
    all: &Arc<Connections>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<Body, Failure> {
    let message = request.grpc_message(all.limits().max_send())?;
    let _permit = deadlines.acquire(all.permits()).await?;
    let until = deadlines.call();
    let outgoing = || Outgoing {
        procedure: Procedure::Agent(Rpc::Process),
        message: message.clone(),
        trace: request.trace.as_deref(),
        deadline: Some(until),
        until,
    };
    let (slot, begun) = send(all, outgoing, deadlines).await?;
    let answer = answer(all, begun, request.grpc_method());
    let answer = timeout_at(until, answer).await;
    answer.map_err(|_| timed_out(all, &slot))?
}

/// Sends a request and waits for its first answer.
pub(super) async fn open(
    all: &Arc<Connections>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<(Chunks, Body), Failure> {
    let message = request.grpc_message(all.limits().max_send())?;
    let permit = deadlines.acquire(all.permits()).await?;
    let outgoing = || Outgoing {
        procedure: Procedure::Agent(Rpc::ProcessStream),
        message: message.clone(),
        trace: request.trace.as_deref(),
        deadline: None,
        until: deadlines.call(),
    };
    let (slot, begun) = send(all, outgoing, deadlines).await?;
    let mut chunks = Chunks {
        all: Arc::clone(all),
        reader: begun.reader,
        slot,
        _permit: permit,
    };
    let first = match begun.status {
        Some(status) => from_status(status)?,
        None => chunks.next(deadlines.call()).await?,
    };
    Ok((chunks, first))
}

/// Asks the health service.
pub(super) async fn ping(all: &Arc<Connections>, deadlines: Deadlines<'_>) -> Result<(), Failure> {
    let request = HealthCheckRequest::default();
    // An empty request is not too large.
    let message = frame(&request, usize::MAX).unwrap_or_default();
    let _permit = deadlines.acquire(all.permits()).await?;
    let until = deadlines.call();
    let outgoing = || Outgoing {
        procedure: Procedure::Health,
        message: message.clone(),
        trace: None,
        deadline: Some(until),
        until,
    };
    send(all, outgoing, deadlines).await.map(drop)
}

/// Returns the failure of a call whose answer has not arrived in time.
fn timed_out(all: &Connections, slot: &Slot) -> Failure {
    all.timed_out(slot);
    Failure::TimedOut(Phase::Receiving)
}

/// Sends a request and waits until its answer begins. If an open connection ends before the request
/// was sent, the request is sent on another connection.
async fn send<'a>(
    all: &Arc<Connections>,
    outgoing: impl Fn() -> Outgoing<'a>,
    deadlines: Deadlines<'_>,
) -> Result<(Slot, Begun), Failure> {
    let mut refusals = 0;
    loop {
        let mut slot = all.slot();
        let is_reused = slot.is_open();
        if !is_reused {
            deadlines.check_candidate()?;
            let opened = deadlines
                .connect(all.endpoint(), slot.open(all.opening()))
                .await;
            if let Err(failure) = opened {
                all.remove(slot.connection(), |connection| connection.in_flight() <= 1);
                return Err(failure);
            }
        }
        let outgoing = outgoing();
        if let Procedure::Agent(rpc) = outgoing.procedure {
            log_sent(all.endpoint(), Kind::Request(rpc), &outgoing.message);
        }
        match attempt(all, &slot, outgoing).await {
            Ok(begun) => {
                slot.answered();
                slot.progressed();
                return Ok((slot, begun));
            }
            // The server allows fewer calls than was assumed, and has told so by now.
            Err(Failure::Unsent(error)) if is_refused(&error) && refusals < MAX_REFUSALS => {
                slot.answered();
                refusals += 1;
            }
            Err(Failure::Unsent(error)) if is_reused => {
                tracing::debug!(%error, "server closed a connection; using another");
                all.remove(slot.connection(), |_| true);
            }
            Err(failure) => {
                if matches!(failure, Failure::TimedOut(_)) {
                    all.timed_out(&slot);
                }
                return Err(if is_reused {
                    failure
                } else {
                    failure.before_first_answer(all.endpoint())
                });
            }
        }
    }
}

async fn attempt(all: &Connections, slot: &Slot, outgoing: Outgoing<'_>) -> Result<Begun, Failure> {
    let until = outgoing.until;
    let sender = timeout_at(until, slot.sender()).await;
    let sender = sender.map_err(|_| Failure::TimedOut(Phase::Queueing))??;
    let mut is_sent = false;
    let begun = timeout_at(until, exchange(all, sender, outgoing, &mut is_sent)).await;
    match begun {
        Ok(begun) => begun,
        Err(_) if is_sent => Err(Failure::TimedOut(Phase::Receiving)),
        Err(_) => Err(Failure::TimedOut(Phase::Sending)),
    }
}

/// Sends the request. The server may answer before it has read all of the request.
async fn exchange(
    all: &Connections,
    sender: SendRequest<Bytes>,
    outgoing: Outgoing<'_>,
    is_sent: &mut bool,
) -> Result<Begun, Failure> {
    let request = head(all, &outgoing)?;
    all.counters().sent(outgoing.message.len());
    let answered = http2::exchange(sender, request, outgoing.message, is_sent).await;
    begin(answered.map_err(|error| error.into_failure(violation))?)
}

/// Returns the head of a request.
fn head(all: &Connections, outgoing: &Outgoing<'_>) -> Result<http::Request<()>, Failure> {
    let head = all.heads().of(outgoing.procedure);
    let mut head = head.ok_or_else(|| malformed("the host is not a part of a URL".to_owned()))?;
    let headers = head.headers_mut();
    if let Some(deadline) = outgoing.deadline {
        let timeout = deadline.saturating_duration_since(Instant::now());
        // A number with a unit is a value of a header.
        if let Ok(timeout) = HeaderValue::try_from(write_timeout(timeout)) {
            headers.insert("grpc-timeout", timeout);
        }
    }
    if let Some(trace) = outgoing.trace {
        trace::write_headers(trace, headers);
    }
    Ok(head)
}

/// Checks the head of a response.
fn begin(response: http::Response<RecvStream>) -> Result<Begun, Failure> {
    let (parts, body) = response.into_parts();
    if parts.status != http::StatusCode::OK {
        let text = format!(
            "the server answered with the status {} of HTTP",
            parts.status
        );
        return Err(malformed(text));
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE);
    if !content_type.is_some_and(|name| is_grpc(name.as_bytes())) {
        return Err(malformed(
            "the content type is not application/grpc".to_owned(),
        ));
    }
    let encoding = encoding(&parts.headers)?;
    let status = Status::read(&parts.headers).filter(|_| body.is_end_stream());
    Ok(Begun {
        reader: MessageReader::new(body, encoding),
        status,
    })
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Failure> {
    let Some(name) = headers.get("grpc-encoding") else {
        return Ok(Encoding::Identity);
    };
    let unknown = || malformed("the answer has an unknown compression".to_owned());
    Encoding::from_name(name.as_bytes()).ok_or_else(unknown)
}

/// Reads the only answer to a request.
async fn answer(all: &Connections, begun: Begun, method: &str) -> Result<Body, Failure> {
    let Begun { mut reader, status } = begun;
    if let Some(status) = status {
        return from_status(status);
    }
    let Some(message) = message(&mut reader, all).await? else {
        return from_status(status_at_end(&mut reader).await?);
    };
    log_received(all.endpoint(), Kind::Response(method), &message);
    if message_follows(&mut reader).await? {
        return Err(malformed("the answer has more than one message".to_owned()));
    }
    let status = status_at_end(&mut reader).await?;
    if status.code != grpc::Code::Ok {
        return from_status(status);
    }
    let (method, bodies) = (method.to_owned(), all.bodies());
    decoded(message, move |message| {
        let (response, _) = decode::<Response>(&message, DEFAULT_MEMORY_LIMIT)?;
        finish(response.into_envelope(&method)?, bodies)
    })
    .await
}

impl Chunks {
    /// Waits for the next answer.
    pub(in crate::client::channel) async fn next(
        &mut self,
        until: Instant,
    ) -> Result<Body, Failure> {
        let next = timeout_at(until, self.receive()).await;
        let next = next.map_err(|_| timed_out(&self.all, &self.slot))?;
        self.slot.progressed();
        next
    }

    async fn receive(&mut self) -> Result<Body, Failure> {
        let Some(message) = message(&mut self.reader, &self.all).await? else {
            let status = status_at_end(&mut self.reader).await?;
            if status.code == grpc::Code::Ok {
                return Err(Failure::Broken(None));
            }
            return from_status(status);
        };
        log_received(self.all.endpoint(), Kind::Chunk, &message);
        let bodies = self.all.bodies();
        decoded(message, move |message| {
            let (chunk, _) = decode::<StreamChunk>(&message, DEFAULT_MEMORY_LIMIT)?;
            finish(chunk.into_envelope()?, bodies)
        })
        .await
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks")
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}

/// Reads the next message.
async fn message(reader: &mut MessageReader, all: &Connections) -> Result<Option<Bytes>, Failure> {
    let max = all.limits().max_receive();
    let Some(prefix) = reader.prefix().await.map_err(unreadable)? else {
        return Ok(None);
    };
    let check = |len| {
        if len > max {
            return Err(Failure::Broken(Some(
                agentwire_codec::FrameError::TooLarge { len, max },
            )));
        }
        Ok(())
    };
    check(prefix.len)?;
    let message = reader.message(prefix).await.map_err(unreadable)?;
    all.counters()
        .received((grpc::PREFIX_LEN + prefix.len) as u64);
    let encoding = reader.encoding(prefix);
    check(encoding.announced_len(&message))?;
    let decompressed = encoding.decompress(message);
    decompressed
        .map(Some)
        .map_err(|status| malformed(status.message))
}

/// Returns whether another message follows the only one of an answer.
async fn message_follows(reader: &mut MessageReader) -> Result<bool, Failure> {
    let next = reader.prefix().await.map_err(unreadable)?;
    Ok(next.is_some())
}

/// Reads the status after the last message.
async fn status_at_end(reader: &mut MessageReader) -> Result<Status, Failure> {
    let trailers = reader.trailers().await;
    let trailers = trailers.map_err(|error| from_h2(error, true))?;
    let status = trailers.and_then(|trailers| Status::read(&trailers));
    status.ok_or_else(|| malformed("the answer has no status".to_owned()))
}

fn unreadable(error: ReadError) -> Failure {
    match error {
        ReadError::Stream(error) => from_h2(error, true),
        ReadError::Status(status) => malformed(status.message),
    }
}

/// Decodes a message, on another thread if it is large.
async fn decoded(
    message: Bytes,
    decode: impl FnOnce(Bytes) -> Result<Body, DecodeError> + Send + 'static,
) -> Result<Body, Failure> {
    let decoded = if message.len() <= MAX_INLINE {
        decode(message)
    } else {
        Offload::new(move || decode(message)).await
    };
    Ok(decoded?)
}

fn finish(envelope: Envelope, bodies: Bodies) -> Result<Body, DecodeError> {
    if bodies == Bodies::Typed {
        return Ok(envelope.body);
    }
    let id = envelope.id.clone();
    into_raw(envelope).map(|raw| raw.body).map_err(|error| {
        let reason = error.to_string();
        DecodeError::new(
            Some(id),
            None,
            agentwire_codec::DecodeFault::Payload { reason },
        )
    })
}

/// How often a call is repeated because the server refuses its stream. The server has then not seen
/// the request.
const MAX_REFUSALS: usize = 8;
