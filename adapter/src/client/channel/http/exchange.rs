//! Sends requests, and reads their answers and the events of streams.

use std::{
    future::{Future, poll_fn},
    io,
    pin::pin,
    sync::Arc,
    task::Poll,
};

use agentwire_codec::{Body as EnvelopeBody, FrameError};
use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderValue, Request as HttpRequest, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tokio::time::{Instant, timeout_at};

use super::{
    answer,
    body::{AnswerBody, announced_len},
    failure::{broken, io_error, violation},
    http1::Payload,
    pool::{Lease, Leased, Pool},
    sse::EventReader,
    target::{EVENT_STREAM, REQUEST_ID, Route, Target},
};
use crate::{
    client::channel::{deadlines::Deadlines, failure::Failure, frame::Frame, request::Request},
    connection::frame_log::{Direction, log_message},
    error::Phase,
    trace,
};

/// The events that answer a streaming request.
///
/// If `Events` is dropped without a call to [`finish`](Self::finish), the connection or the stream
/// of HTTP/2 is closed, which tells the server to stop.
pub(in crate::client) struct Events {
    pool: Arc<Pool>,
    lease: Lease,
    target: Arc<Target>,
    body: AnswerBody,
    reader: EventReader,
}

/// Sends a request and waits for its only answer.
pub(super) async fn call(
    pool: &Arc<Pool>,
    target: &Target,
    route: Route,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<EnvelopeBody, Failure> {
    let (lease, response) = send(pool, target, route, request, deadlines).await?;
    let (head, mut body) = response.into_parts();
    let (mut lease, until) = (lease, deadlines.call());
    let announced = announced_len(&head.headers);
    let payload = read_whole(&mut lease, &mut body, announced, target.max_answer, until).await?;
    log_message(Direction::Received, pool.endpoint(), &payload);
    let _call = lease.release(None);
    let answer = answer::read(head.status, &head.headers, payload, target.bodies);
    decoded(answer, until).await
}

/// Sends a request and waits for its first answer.
pub(super) async fn open(
    pool: &Arc<Pool>,
    target: &Arc<Target>,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<(Events, EnvelopeBody), Failure> {
    let (lease, response) = send(pool, target, Route::Stream, request, deadlines).await?;
    let (head, body) = response.into_parts();
    let mut events = Events {
        pool: Arc::clone(pool),
        lease,
        target: Arc::clone(target),
        body,
        reader: EventReader::new(target.max_answer),
    };
    if head.status.is_success() && is_event_stream(&head.headers) {
        let first = events.next(deadlines.call()).await?;
        return Ok((events, first));
    }
    let announced = announced_len(&head.headers);
    let payload = events.read_whole(announced, deadlines.call()).await?;
    let first = answer::read(head.status, &head.headers, payload, target.bodies);
    let first = decoded(first, deadlines.call()).await?;
    Ok((events, first))
}

/// Sends a request, and waits for the head of its answer.
///
/// If a connection that was in use before ends before the whole request was written, the request is
/// sent on another connection. The server cannot have seen the request.
async fn send(
    pool: &Arc<Pool>,
    target: &Target,
    route: Route,
    request: &Request,
    deadlines: Deadlines<'_>,
) -> Result<(Lease, Response<AnswerBody>), Failure> {
    let payload = payload_of(&request.frame);
    loop {
        let mut lease = pool.lease(deadlines).await?;
        let is_reused = lease.is_reused();
        log_message(Direction::Sent, pool.endpoint(), &payload);
        let head = build(target, route, request, lease.is_http2());
        pool.counters().sent(payload.len());
        let failure = match exchange(&mut lease, head, payload.clone(), deadlines).await {
            Ok(response) => return Ok((lease, response)),
            Err(failure) => failure,
        };
        let shared = Arc::clone(lease.shared());
        match failure {
            Failure::TimedOut(_) => lease.timed_out(),
            _ => lease.failed(&failure),
        }
        // No server of HTTP/1.1 takes the start of HTTP/2 for a request that it could process, and
        // a server of HTTP/2 begins with its settings. The answer may be lost with the connection.
        let is_refused = shared.speaks_http1() || (shared.received() == 0 && !is_reused);
        if pool.is_h2c() && !matches!(failure, Failure::TimedOut(_)) {
            if lease.is_http2() && is_refused {
                tracing::debug!(endpoint = %pool.endpoint(), "server speaks HTTP/1.1 only");
                pool.use_http1(true);
                continue;
            }
            if !lease.is_http2() {
                // The server may have been replaced by one that speaks HTTP/2.
                pool.use_http1(false);
            }
        }
        match failure {
            // The pool no longer has the connection, so the loop ends.
            Failure::Unsent(error) if is_reused => {
                let id = &request.id;
                tracing::debug!(%id, %error, "server closed an idle connection; using another");
            }
            failure if !is_reused && shared.received() == 0 => {
                return Err(failure.before_first_answer(pool.endpoint()));
            }
            failure => return Err(failure),
        }
    }
}

fn build(target: &Target, route: Route, request: &Request, is_http2: bool) -> HttpRequest<()> {
    let mut http = target.head(route, is_http2);
    target.add_credential(&mut http);
    let headers = http.headers_mut();
    match HeaderValue::try_from(request.id.to_text().into_owned()) {
        Ok(id) => headers.insert(REQUEST_ID, id),
        Err(_) => headers.remove(REQUEST_ID),
    };
    if let Some(trace) = &request.trace {
        trace::write_headers(trace, headers);
    }
    http
}

/// Sends a request on a connection, and waits for the head of the answer.
async fn exchange(
    lease: &mut Lease,
    mut head: HttpRequest<()>,
    body: Bytes,
    deadlines: Deadlines<'_>,
) -> Result<Response<AnswerBody>, Failure> {
    if let Leased::Http2(slot) = &lease.connection {
        head.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        let mut is_sent = false;
        let answered = timeout_at(deadlines.call(), slot.send(head, body, &mut is_sent)).await;
        return match answered {
            Ok(Ok(response)) => Ok(response.map(AnswerBody::Http2)),
            Ok(Err(error)) => Err(error.into_failure(violation)),
            Err(_) if is_sent => Err(Failure::TimedOut(Phase::Receiving)),
            Err(_) => Err(Failure::TimedOut(Phase::Sending)),
        };
    }
    let (before, len) = (lease.shared().written(), body.len());
    let request = head.map(|()| Payload::new(body));
    let Some(answered) = lease.send(request) else {
        return Err(Failure::not_connected());
    };
    let mut answered = pin!(answered);
    let waiting = poll_fn(|cx| {
        lease.poll_with(cx, |cx, has_ended| match answered.as_mut().poll(cx) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending if has_ended => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
    });
    let outcome = timeout_at(deadlines.call(), waiting).await;
    let is_written = lease.shared().written() - before >= len as u64;
    match outcome {
        Ok(Some(Ok(response))) => Ok(response.map(AnswerBody::Http1)),
        Ok(Some(Err(mut error))) => {
            let is_unsent = error.take_message().is_some();
            let error = error.into_error();
            Err(if is_unsent || !is_written {
                Failure::Unsent(io_error(error))
            } else {
                broken(error)
            })
        }
        Ok(None) if is_written => Err(Failure::Broken(None)),
        Ok(None) => Err(Failure::Unsent(io::ErrorKind::BrokenPipe.into())),
        Err(_) if is_written => Err(Failure::TimedOut(Phase::Receiving)),
        Err(_) => Err(Failure::TimedOut(Phase::Sending)),
    }
}

async fn read_whole(
    lease: &mut Lease,
    body: &mut AnswerBody,
    announced: Option<usize>,
    max: usize,
    until: Instant,
) -> Result<Vec<u8>, Failure> {
    let least = announced.unwrap_or_default();
    if least > max {
        return Err(too_large(least, max));
    }
    // A server that only announces a large answer costs little memory.
    let mut payload = Vec::with_capacity(least.min(MAX_RESERVED));
    while !body.has_ended() {
        let Some(data) = next_data(lease, body, until).await? else {
            break;
        };
        let len = payload.len() + data.remaining();
        if len > max {
            return Err(too_large(len, max));
        }
        payload.extend_from_slice(&data);
    }
    Ok(payload)
}

/// Waits until an answer is decoded. A large one is decoded on another thread, for which it may
/// have to wait.
async fn decoded(
    answer: impl Future<Output = Result<EnvelopeBody, Failure>>,
    until: Instant,
) -> Result<EnvelopeBody, Failure> {
    let answer = timeout_at(until, answer).await;
    answer.unwrap_or(Err(Failure::TimedOut(Phase::Receiving)))
}

/// Reads the next bytes of a body, or returns `None` at its end.
async fn next_data(
    lease: &mut Lease,
    body: &mut AnswerBody,
    until: Instant,
) -> Result<Option<Bytes>, Failure> {
    let next = poll_fn(|cx| lease.poll_body(cx, |cx| body.poll_data(cx)));
    let next = timeout_at(until, next).await;
    let Ok(next) = next else {
        lease.timed_out();
        return Err(Failure::TimedOut(Phase::Receiving));
    };
    match next {
        None => Ok(None),
        Some(Err(failure)) => {
            lease.failed(&failure);
            Err(failure)
        }
        Some(Ok(data)) => {
            lease.counters().received(data.len() as u64);
            lease.progressed();
            Ok(Some(data))
        }
    }
}

impl Events {
    /// Waits for the next answer.
    pub(in crate::client::channel) async fn next(
        &mut self,
        until: Instant,
    ) -> Result<EnvelopeBody, Failure> {
        loop {
            if let Some(event) = self.reader.next() {
                log_message(Direction::Received, self.pool.endpoint(), &event);
                return decoded(answer::envelope(event, self.target.bodies), until).await;
            }
            match next_data(&mut self.lease, &mut self.body, until).await? {
                Some(data) => {
                    let read = self.reader.read(&data);
                    read.map_err(|error| too_large(error.len, error.max))?;
                }
                None => return Err(Failure::Broken(None)),
            }
        }
    }

    async fn read_whole(
        &mut self,
        announced: Option<usize>,
        until: Instant,
    ) -> Result<Vec<u8>, Failure> {
        let Self { lease, body, .. } = self;
        let payload = read_whole(lease, body, announced, self.target.max_answer, until).await?;
        log_message(Direction::Received, self.pool.endpoint(), &payload);
        Ok(payload)
    }

    /// Releases the connection after the last answer.
    pub(in crate::client::channel) fn finish(self) {
        let Self { lease, body, .. } = self;
        drop(lease.release(body.into_rest()));
    }
}

/// Returns the payload of a frame as a body.
fn payload_of(frame: &Frame) -> Bytes {
    match frame {
        Frame::Small(bytes) => Bytes::copy_from_slice(&bytes[HEADER..]),
        Frame::Large(bytes) => bytes.slice(HEADER..),
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(EVENT_STREAM.as_bytes()))
}

fn too_large(len: usize, max: usize) -> Failure {
    Failure::Broken(Some(FrameError::TooLarge { len, max }))
}

/// The most that is reserved for an answer before it has arrived.
const MAX_RESERVED: usize = 1024 * 1024;

/// The length of the header of a frame, which is cut off.
const HEADER: usize = agentwire_codec::HEADER_LEN;
