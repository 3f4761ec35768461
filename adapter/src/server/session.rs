use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentwire_codec::{
    Body, EncodeError, Envelope, ErrorCode, Format, FrameError, Map, RequestId, WireError,
};
use agentwire_transport::Peer;
use agentwire_transport::internal::MAX_TIMEOUT;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    config::Config,
    dispatch::dispatch,
    in_flight::{Answer, InFlight, Next},
    service::Service,
    stop::{ShutdownListener, Stage},
};
use crate::{connection::FramedConnection, deadline_timer::DeadlineTimer};

/// One connection of a server: reads requests, works on them, writes their answers.
///
/// One task does all of it, so that dropping the session drops everything that is done for its peer,
/// and answers that are ready together leave in one write.
pub(super) struct Session {
    link: FramedConnection,
    peer: Arc<Peer>,
    service: Arc<dyn Service>,
    config: Arc<Config>,
    in_flight: FuturesUnordered<Next>,
    /// Why nothing more is read. What is in flight is still answered.
    ending: Option<End>,
    stop: ShutdownListener,
    clocks: Clocks,
    alarm: DeadlineTimer,
}

/// Since when the session waits for what must not take for ever.
#[derive(Default)]
struct Clocks {
    /// For any request, with nothing in flight.
    idle: Option<Instant>,
    /// The link keeps room for large frames meanwhile.
    has_room: bool,
    /// For the rest of a frame.
    frame: Option<Instant>,
    /// For the peer to take more than this many bytes in all.
    write: Option<(Instant, u64)>,
}

/// What is to be done when a clock has run down.
enum Due {
    Rest,
    End(&'static str),
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("peer closed it")]
    PeerLeft,
    #[error("server stops and everything is answered")]
    Drained,
    #[error("server stops at once")]
    Aborted,
    #[error("timed out: {0}")]
    Timeout(&'static str),
    #[error("frame of {len} bytes exceeds the limit of {max}")]
    TooLarge { len: usize, max: usize },
    #[error(transparent)]
    Broken(FrameError),
    #[error("answers cannot be written: {0}")]
    Unwritable(io::Error),
}

/// With this many bytes of answers in line, no more are made: the peer is slow, and its requests wait.
const HIGH_WATER: usize = 64 * 1024;

/// After so many requests, other tasks of this thread have a turn, and what was answered leaves. Many requests come in one
/// read, and many are answered at once, so nothing else would stop a peer that sends them without end. It is how often
/// tokio lets a task use its resources in a turn.
const REQUESTS_PER_TURN: usize = 128;

/// Large frames come in a row or not at all: after so long a connection gives up the room for them.
const REST_AFTER: Duration = Duration::from_secs(1);

/// How long a peer that sends too much may take to read that it does.
const LINGER: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn new(
        link: FramedConnection,
        peer: Arc<Peer>,
        service: Arc<dyn Service>,
        config: Arc<Config>,
        stop: ShutdownListener,
    ) -> Box<Self> {
        Box::new(Self {
            link,
            peer,
            service,
            config,
            in_flight: FuturesUnordered::new(),
            ending: None,
            stop,
            clocks: Clocks::default(),
            alarm: DeadlineTimer::default(),
        })
    }

    /// In a box, because a future holds what is moved into it twice, and so does each future around it.
    pub(super) async fn run(mut self: Box<Self>) {
        tracing::debug!("connection opened");
        let end = poll_fn(|cx| self.poll(cx)).await;
        tracing::debug!(reason = %end, "connection closed");
        // Handlers end with the conversation, before anything is waited for.
        self.in_flight.clear();
        let linger = match end {
            // The peer may be busy sending what nobody reads.
            End::TooLarge { .. } => LINGER,
            // All is written; what is there to be discarded is there now.
            End::Drained => Duration::ZERO,
            End::Aborted
            | End::PeerLeft
            | End::Timeout(_)
            | End::Broken(_)
            | End::Unwritable(_) => return,
        };
        // On the heap, because its room is needed at the end only.
        let Self { link, stop, .. } = *self;
        Box::pin(async move {
            tokio::select! {
                biased;
                () = stop.aborted() => {}
                () = link.close(linger) => {}
            }
        })
        .await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut left = REQUESTS_PER_TURN;
        loop {
            // The flush comes first: in the last round nothing is put in line behind it, so either there is
            // room and every handler waits, or the line is full and the connection wakes this task.
            if let Poll::Ready(Err(error)) = self.link.poll_flush(cx) {
                return Poll::Ready(End::Unwritable(error));
            }
            if left == 0 {
                break;
            }
            // Those that wait come before those that are new.
            let answered = self.poll_answers(cx);
            let before = left;
            if let Err(end) = self.poll_requests(cx, &mut left) {
                return Poll::Ready(end);
            }
            if !answered && left == before {
                break;
            }
        }
        // Last, so that requests that have come by now are answered.
        match self.stop.poll(cx) {
            Stage::Aborted => return Poll::Ready(End::Aborted),
            // In a turn that was cut short more may have come.
            Stage::Draining if left > 0 => _ = self.ending.get_or_insert(End::Drained),
            Stage::Draining | Stage::Serving => {}
        }
        if self.in_flight.is_empty() && self.link.is_flushed() {
            if let Some(end) = self.ending.take() {
                return Poll::Ready(end);
            }
        }
        if left == 0 {
            // Nobody is waited for, so no clock runs.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_clocks(cx)
    }

    /// Puts answers in line as long as there is room. True if there were any.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut answered = false;
        while self.link.queued() < HIGH_WATER {
            let Poll::Ready(Some(next)) = self.in_flight.poll_next_unpin(cx) else {
                break;
            };
            answered = true;
            if let Some((answer, rest)) = next {
                self.answer_one_of(&answer, rest);
            }
        }
        answered
    }

    /// Begins with a request. Many are answered at once, and need no place among those that wait.
    fn begin(&mut self, mut request: InFlight, cx: &mut Context<'_>) {
        match request.poll_answer(cx) {
            Poll::Ready(Some(answer)) => self.answer_one_of(&answer, request),
            Poll::Ready(None) => {}
            Poll::Pending => self.in_flight.push(request.into_next()),
        }
    }

    /// Puts an answer in line, and goes on with its request if more follows.
    fn answer_one_of(&mut self, answer: &Answer, rest: InFlight) {
        let more = matches!(answer.envelope.body, Body::StreamChunk(_));
        if self.answer(answer) && more {
            self.in_flight.push(rest.into_next());
        }
    }

    /// Starts on so many requests, as long as they come and there is room for them.
    fn poll_requests(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Result<(), End> {
        while *left > 0 {
            if let Some(End::TooLarge { .. }) = self.ending {
                return peer_left(self.link.poll_discard(cx));
            }
            match self.link.poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(Some(len))) if !self.has_room() => {
                    return peer_left(self.link.poll_end(cx, len));
                }
                Poll::Ready(Ok(Some(len))) => {
                    *left -= 1;
                    self.clocks.request_arrived();
                    let dispatched = dispatch(&*self.service, &self.peer, self.link.payload(len));
                    self.link.consume(len);
                    match dispatched {
                        Ok(request) => self.begin(request, cx),
                        Err(refusal) => {
                            self.answer(&refusal);
                        }
                    }
                }
                Poll::Ready(Ok(None)) => return Err(End::PeerLeft),
                Poll::Ready(Err(FrameError::TooLarge { len, max })) => {
                    *left -= 1;
                    self.refuse_frame(len, max);
                }
                Poll::Ready(Err(error)) => return Err(End::Broken(error)),
            }
        }
        Ok(())
    }

    /// Says that a frame is too large, and reads no further. What came before it is still answered.
    fn refuse_frame(&mut self, len: usize, max: usize) {
        let text = format!("Frame of {len} bytes exceeds the limit of {max}");
        let error = WireError::new(ErrorCode::MALFORMED_PAYLOAD, text)
            .with_details(Map::from([("length", len), ("limit", max)]));
        let envelope = Envelope::new(RequestId::unknown(), error);
        // Of a frame that is not read, the format is not known; JSON is what every peer reads.
        self.answer(&Answer {
            format: Format::Json,
            envelope,
        });
        self.ending = Some(End::TooLarge { len, max });
    }

    fn has_room(&self) -> bool {
        self.ending.is_none()
            && self.in_flight.len() < self.config.max_in_flight
            && self.link.queued() < HIGH_WATER
    }

    /// Puts an answer in line, or the error that replaces it. True if it was the answer.
    fn answer(&mut self, answer: &Answer) -> bool {
        let Answer { format, envelope } = answer;
        let Err(error) = self.link.queue(*format, envelope) else {
            return true;
        };
        tracing::debug!(id = %envelope.id, %error, "answer cannot be sent");
        for replacement in replacements(envelope, &error) {
            if self.link.queue(*format, &replacement).is_ok() {
                return false;
            }
        }
        // Not even the smallest error fits the limit, so there is nothing that could be said.
        tracing::warn!(id = %envelope.id, "the frame limit leaves no room for any answer");
        false
    }

    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let now = Instant::now();
        // A frame that is refused must come to its end, too.
        let refusing = matches!(self.ending, Some(End::TooLarge { .. }));
        self.clocks
            .tick(&self.link, refusing, self.in_flight.is_empty(), now);
        loop {
            let Some((deadline, due)) = self.clocks.next(&self.config) else {
                return Poll::Pending;
            };
            // A deadline that a clock stands on already needs no timer.
            if deadline > now {
                ready!(self.alarm.poll(cx, deadline));
            }
            match due {
                Due::Rest => {
                    self.link.shrink();
                    self.clocks.has_room = false;
                }
                Due::End(reason) => return Poll::Ready(End::Timeout(reason)),
            }
        }
    }
}

impl Clocks {
    /// Whatever was awaited of the peer, this was it.
    fn request_arrived(&mut self) {
        self.idle = None;
        self.frame = None;
    }

    fn tick(
        &mut self,
        link: &FramedConnection,
        refusing: bool,
        nothing_in_flight: bool,
        now: Instant,
    ) {
        let partial = refusing || link.has_partial_frame();
        let idle = nothing_in_flight && link.is_flushed() && !partial;
        self.idle = idle.then(|| self.idle.unwrap_or(now));
        self.has_room = link.has_excess_capacity();
        self.frame = partial.then(|| self.frame.unwrap_or(now));
        self.write = match self.write {
            _ if link.is_flushed() => None,
            Some((since, before)) if link.written() == before => Some((since, before)),
            _ => Some((now, link.written())),
        };
    }

    fn next(&self, config: &Config) -> Option<(Instant, Due)> {
        let deadline = |since: Option<Instant>, timeout: Duration, due| {
            since.map(|since| (since + timeout.min(MAX_TIMEOUT), due))
        };
        let roomy = self.idle.filter(|_| self.has_room);
        let unwritten = self.write.map(|(since, _)| since);
        [
            deadline(roomy, REST_AFTER, Due::Rest),
            deadline(self.idle, config.idle_timeout, Due::End("no request")),
            deadline(
                self.frame,
                config.frame_timeout,
                Due::End("frame not completed"),
            ),
            deadline(
                unwritten,
                config.write_timeout,
                Due::End("answer not taken"),
            ),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(deadline, _)| *deadline)
    }
}

/// Ends a session whose peer is only watched, not listened to, if it has left.
fn peer_left(end: Poll<io::Result<()>>) -> Result<(), End> {
    match end {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(())) => Err(End::PeerLeft),
        Poll::Ready(Err(error)) => Err(End::Broken(error.into())),
    }
}

/// What is said in place of an answer that cannot be encoded (PROTOCOL 7.4), the best first.
fn replacements(envelope: &Envelope, error: &EncodeError) -> Vec<Envelope> {
    let replace = |error: WireError| Envelope::new(envelope.id.clone(), error);
    let mut replacements = Vec::new();
    if let Body::Error(original) = &envelope.body {
        replacements.push(replace(WireError::new(
            original.code.clone(),
            original.message.clone(),
        )));
    }
    let text = format!("The answer cannot be sent: {error}");
    replacements.push(replace(WireError::new(ErrorCode::INTERNAL_ERROR, text)));
    replacements
}
