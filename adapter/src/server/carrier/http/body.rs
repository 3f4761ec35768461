//! The bodies of answers: [`ReplyBody`].

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_codec::{Body as EnvelopeBody, EncodeError, Envelope, RequestId};
use agentwire_transport::Peer;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{activity::InFlight, form::Form, reply, stream::take_chunk};
use crate::server::carrier::memory::{Grant, Memory};
use crate::{
    connection::{
        Offload, approximate_memory,
        frame_log::{Direction, log_message},
        is_costly,
    },
    deadline_timer::DeadlineTimer,
    observer::{Observers, Side},
    server::running::Running,
};

/// The body of an answer of [`HttpService`](super::HttpService).
pub struct ReplyBody(Inner);

enum Inner {
    Whole(Bytes),
    Events(Box<Events>),
}

/// The answers to a request as server-sent events.
pub(super) struct Events {
    pub(super) peer: Peer,
    pub(super) form: Form,
    /// An answer that the service has given before the head was sent.
    pub(super) next: Option<EnvelopeBody>,
    /// The request until its last answer.
    pub(super) running: Running,
    pub(super) memory: Memory,
    /// The maximum size of an event.
    pub(super) limit: usize,
    pub(super) observers: Observers,
    /// A large answer that is being encoded on another thread.
    pub(super) encoding: Option<Offload<Encoded>>,
    /// The time of the last event or comment.
    pub(super) last: Instant,
    pub(super) timer: DeadlineTimer,
    /// The rest of an event that is sent in chunks.
    pub(super) rest: Bytes,
    /// The request until its last event, which holds it until it has been written.
    pub(super) in_flight: Option<InFlight>,
    /// The memory of the request.
    pub(super) _charge: Grant,
}

/// The result of encoding an answer.
pub(super) type Encoded = Result<Vec<u8>, EncodeError>;

/// A buffer with the memory and the request that it belongs to, which are released when the buffer
/// has been written.
struct Charged<B> {
    buffer: B,
    _grant: Option<Grant>,
    _in_flight: Option<InFlight>,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Charged<B> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

/// Returns the bytes of a buffer, which release what they hold when they have been written.
pub(super) fn charged<B>(buffer: B, grant: Option<Grant>, in_flight: Option<InFlight>) -> Bytes
where
    B: AsRef<[u8]> + Send + 'static,
{
    Bytes::from_owner(Charged {
        buffer,
        _grant: grant,
        _in_flight: in_flight,
    })
}

impl ReplyBody {
    pub(super) fn empty() -> Self {
        Self::whole(Bytes::new())
    }

    pub(super) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Whole(bytes.into()))
    }

    /// Returns the bytes of a body that is no stream of events.
    pub(super) fn whole_bytes(&self) -> &[u8] {
        match &self.0 {
            Inner::Whole(bytes) => bytes,
            Inner::Events(_) => &[],
        }
    }

    pub(super) fn events(events: Events) -> Self {
        Self(Inner::Events(Box::new(events)))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut self.0 {
            Inner::Whole(bytes) if bytes.is_empty() => None,
            Inner::Whole(bytes) => Some(std::mem::take(bytes)),
            Inner::Events(events) => ready!(events.poll_next(cx)),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_empty(),
            Inner::Events(events) => events.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody").finish_non_exhaustive()
    }
}

impl Events {
    fn has_ended(&self) -> bool {
        self.next.is_none()
            && self.running.has_ended()
            && self.encoding.is_none()
            && self.rest.is_empty()
    }

    /// Returns the next event, or a comment after a time without events.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(self.take_chunk()));
        }
        match self.poll_event(cx) {
            Poll::Ready(event) => {
                self.last = Instant::now();
                Poll::Ready(event.map(|event| {
                    self.rest = event;
                    self.take_chunk()
                }))
            }
            Poll::Pending => {
                ready!(self.timer.poll(cx, self.last + KEEP_ALIVE));
                self.last = Instant::now();
                // The timer must wake the task again.
                cx.waker().wake_by_ref();
                Poll::Ready(Some(take_chunk(&mut Bytes::from_static(COMMENT))))
            }
        }
    }

    /// Takes the next chunk of an event. The last one of the answer holds the request.
    fn take_chunk(&mut self) -> Bytes {
        let chunk = take_chunk(&mut self.rest);
        if !self.has_ended() {
            return chunk;
        }
        let mut in_flight = self.in_flight.take();
        if let Some(in_flight) = &mut in_flight {
            in_flight.answered();
        }
        charged(chunk, None, in_flight)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.encoding.is_none() {
            let body = match self.next.take() {
                Some(next) => next,
                None => match ready!(self.running.poll_answer(cx)) {
                    Some(body) => body,
                    None => return Poll::Ready(None),
                },
            };
            let form = self.form;
            let body = form.prepare(body);
            if !is_costly(&body) {
                let encoded = encode(self.running.id(), body, form, self.limit);
                return Poll::Ready(Some(self.finish(encoded)));
            }
            let memory = approximate_memory(&body, self.limit).saturating_mul(2);
            let Some(grant) = self.memory.for_answer(memory) else {
                return Poll::Ready(Some(self.out_of_memory()));
            };
            let (id, limit) = (self.running.id().clone(), self.limit);
            self.encoding = Some(Offload::new(move || {
                let encoded = encode(&id, body, form, limit);
                drop(grant);
                encoded
            }));
        }
        let Some(encoding) = &mut self.encoding else {
            return Poll::Ready(None);
        };
        let encoded = ready!(Pin::new(encoding).poll(cx));
        self.encoding = None;
        Poll::Ready(Some(self.finish(encoded)))
    }

    /// Returns the bytes of an event, or of an error in its place, which ends the stream.
    fn finish(&mut self, encoded: Encoded) -> Bytes {
        let event = match encoded {
            Ok(event) => event,
            Err(error) => {
                self.running.end();
                tracing::debug!(id = %self.running.id(), %error, "reply cannot be encoded; sending an error");
                let error = self.form.prepare(reply::unsendable(&error).into());
                encode(self.running.id(), error, self.form, usize::MAX).unwrap_or_default()
            }
        };
        self.log(&event);
        let sent = event.len() as u64;
        self.observers
            .report(|observer| observer.bytes_sent(Side::Server, sent));
        match self.memory.for_answer(event.capacity()) {
            Some(grant) => charged(event, Some(grant), None),
            None => self.out_of_memory(),
        }
    }

    /// Returns an error that ends the stream for lack of memory.
    fn out_of_memory(&mut self) -> Bytes {
        self.running.end();
        let error = self
            .form
            .prepare(reply::out_of_memory(self.running.id()).into());
        let event = encode(self.running.id(), error, self.form, usize::MAX).unwrap_or_default();
        self.log(&event);
        event.into()
    }

    /// Logs the envelope or the message of an event.
    fn log(&self, event: &[u8]) {
        let data = event.windows(DATA.len()).position(|window| window == DATA);
        let start = data.map_or(0, |start| start + DATA.len());
        log_message(Direction::Sent, &self.peer, event[start..].trim_ascii_end());
    }
}

/// Encodes an answer as an event. The text is always escaped, because some readers take U+2028 for
/// the end of a line.
fn encode(id: &RequestId, body: EnvelopeBody, form: Form, limit: usize) -> Encoded {
    let mut event = form.event_start(body.kind()).to_vec();
    let start = event.len();
    let envelope = Envelope::new(id.clone(), body);
    reply::encode_escaped(&envelope, limit, &mut event)?;
    form.keep_part(&mut event, start);
    event.extend_from_slice(b"\n\n");
    Ok(event)
}

const DATA: &[u8] = b"data: ";

/// A comment, which readers ignore. It keeps a connection through proxies open.
const COMMENT: &[u8] = b": keep-alive\n\n";

/// The time without an event after which a comment is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
