use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use agentwire_codec::{
    Body, EncodeError, Envelope, ErrorCode, Format, FrameError, Map, RequestId, WireError,
};
use futures_util::{
    StreamExt,
    stream::{FuturesUnordered, StreamFuture},
};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    config::Config,
    dispatch::{Answer, Answers, dispatch},
    service::Service,
};
use crate::{link::Link, time::LONGEST};

/// One connection of a server: reads requests, works on them, writes their answers.
///
/// One task does all of it, so that dropping the session drops everything that is done for its peer,
/// and answers that are ready together leave in one write.
pub(super) struct Session {
    link: Link,
    service: Arc<Service>,
    config: Arc<Config>,
    in_flight: FuturesUnordered<StreamFuture<Answers>>,
    /// Why nothing more is read. What is in flight is still answered.
    ending: Option<End>,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    clocks: Clocks,
    timer: Pin<Box<Sleep>>,
}

/// Since when the session waits for what must not take for ever.
#[derive(Default)]
struct Clocks {
    /// For any request, with nothing in flight.
    idle: Option<Instant>,
    /// For the rest of a frame.
    frame: Option<Instant>,
    /// For the peer to take more than this many bytes in all.
    write: Option<(Instant, u64)>,
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("peer closed it")]
    PeerLeft,
    #[error("server stops and everything is answered")]
    Drained,
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

/// How long a peer that sends too much may take to read that it does.
const LINGER: Duration = Duration::from_secs(2);

impl Session {
    pub(super) fn new(
        link: Link,
        service: Arc<Service>,
        config: Arc<Config>,
        drain: CancellationToken,
    ) -> Self {
        Self {
            link,
            service,
            config,
            in_flight: FuturesUnordered::new(),
            ending: None,
            drained: Box::pin(drain.cancelled_owned()),
            clocks: Clocks::default(),
            timer: Box::pin(sleep_until(Instant::now())),
        }
    }

    pub(super) async fn run(mut self) {
        tracing::debug!("connection opened");
        let end = poll_fn(|cx| self.poll(cx)).await;
        tracing::debug!(reason = %end, "connection closed");
        // Handlers end with the conversation, before anything is waited for.
        self.in_flight.clear();
        match end {
            // The peer may be busy sending what nobody reads.
            End::TooLarge { .. } => self.link.close(LINGER).await,
            // All is written; what is there to be discarded is there now.
            End::Drained => self.link.close(Duration::ZERO).await,
            End::PeerLeft | End::Timeout(_) | End::Broken(_) | End::Unwritable(_) => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // Sockets count how often they are used in a turn and then say that they are not ready, so this
        // cannot keep the thread from other tasks.
        loop {
            // The flush comes first: in the last turn nothing is put in line behind it, so either there is
            // room and every handler waits, or the line is full and the connection wakes this task.
            if let Poll::Ready(Err(error)) = self.link.poll_flush(cx) {
                return Poll::Ready(End::Unwritable(error));
            }
            let started = match self.poll_requests(cx) {
                Ok(started) => started,
                Err(end) => return Poll::Ready(end),
            };
            if !self.poll_answers(cx) && !started {
                break;
            }
        }
        if self.ending.is_none() && self.drained.as_mut().poll(cx).is_ready() {
            self.ending = Some(End::Drained);
        }
        if self.in_flight.is_empty() && self.link.is_flushed() {
            // Most connections are idle most of the time, and there may be many.
            self.link.rest();
            if let Some(end) = self.ending.take() {
                return Poll::Ready(end);
            }
        }
        self.poll_clocks(cx)
    }

    /// Puts answers in line as long as there is room. True if there were any.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> bool {
        let mut answered = false;
        while self.link.queued() < HIGH_WATER {
            let Poll::Ready(Some((answer, rest))) = self.in_flight.poll_next_unpin(cx) else {
                break;
            };
            answered = true;
            let Some(answer) = answer else {
                continue;
            };
            let more = matches!(answer.envelope.body, Body::StreamChunk(_));
            if self.answer(&answer) && more {
                self.in_flight.push(rest.into_future());
            }
        }
        answered
    }

    /// Starts on requests as long as there is room for them. True if there were any.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let mut started = false;
        loop {
            if let Some(End::TooLarge { .. }) = self.ending {
                return peer_left(self.link.poll_discard(cx)).map_or(Ok(started), Err);
            }
            match self.link.poll_frame(cx) {
                Poll::Pending => return Ok(started),
                Poll::Ready(Ok(Some(len))) if !self.has_room() => {
                    return peer_left(self.link.poll_end(cx, len)).map_or(Ok(started), Err);
                }
                Poll::Ready(Ok(Some(len))) => {
                    started = true;
                    self.clocks.request_arrived();
                    let timeout = self.config.handler_timeout;
                    match dispatch(&self.service, timeout, self.link.payload(len)) {
                        Ok(answers) => self.in_flight.push(answers.into_future()),
                        Err(refusal) => {
                            self.answer(&refusal);
                        }
                    }
                    self.link.consume(len);
                }
                Poll::Ready(Ok(None)) => return Err(End::PeerLeft),
                Poll::Ready(Err(FrameError::TooLarge { len, max })) => {
                    self.refuse_frame(len, max);
                    return Ok(true);
                }
                Poll::Ready(Err(error)) => return Err(End::Broken(error)),
            }
        }
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
        let Some((deadline, reason)) = self.clocks.next(&self.config) else {
            return Poll::Pending;
        };
        if deadline <= now {
            return Poll::Ready(End::Timeout(reason));
        }
        // The timer is moved only if it would fire late or has fired, not for every request.
        if self.timer.is_elapsed() || self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl Clocks {
    /// Whatever was awaited of the peer, this was it.
    fn request_arrived(&mut self) {
        self.idle = None;
        self.frame = None;
    }

    fn tick(&mut self, link: &Link, refusing: bool, nothing_in_flight: bool, now: Instant) {
        let partial = refusing || link.has_partial_frame();
        let idle = nothing_in_flight && link.is_flushed() && !partial;
        self.idle = idle.then(|| self.idle.unwrap_or(now));
        self.frame = partial.then(|| self.frame.unwrap_or(now));
        self.write = match self.write {
            _ if link.is_flushed() => None,
            Some((since, before)) if link.written() == before => Some((since, before)),
            _ => Some((now, link.written())),
        };
    }

    fn next(&self, config: &Config) -> Option<(Instant, &'static str)> {
        let deadline = |since: Option<Instant>, timeout: Duration, reason| {
            since.map(|since| (since + timeout.min(LONGEST), reason))
        };
        [
            deadline(self.idle, config.idle_timeout, "no request"),
            deadline(self.frame, config.frame_timeout, "frame not completed"),
            deadline(
                self.write.map(|(since, _)| since),
                config.write_timeout,
                "answer not taken",
            ),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(deadline, _)| *deadline)
    }
}

/// Why a session ends whose peer is only watched, not listened to.
fn peer_left(end: Poll<io::Result<()>>) -> Option<End> {
    match end {
        Poll::Pending => None,
        Poll::Ready(Ok(())) => Some(End::PeerLeft),
        Poll::Ready(Err(error)) => Some(End::Broken(error.into())),
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
