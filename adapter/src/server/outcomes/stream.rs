//! Streams with an idempotency key: [`KeptStream`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use agentwire_codec::{Body, EnvelopeType, ErrorCode, Map, WireError};
use agentwire_transport::internal::Mutex;
use futures_core::{Stream, stream::BoxStream};
use futures_util::{StreamExt, stream};

use super::{
    answers::{is_unstarted, marked, without_outcome},
    store::Place,
};
use crate::connection::approximate_memory;

/// The answers of a streaming request. A repeated request takes the stream over, and gets the
/// answers from the first one, as long as they are few.
#[derive(Default)]
pub(super) struct KeptStream(Mutex<State>);

struct State {
    /// The stream of the agent, until it ends.
    answers: Option<BoxStream<'static, Body>>,
    /// The place of the request, from its start to its end.
    place: Option<Place>,
    /// The answers that have been sent, or `None` once they are too many.
    sent: Option<Vec<Body>>,
    bytes: usize,
    has_ended: bool,
    /// The number of the reader that has the stream.
    reader: u64,
    waker: Option<Waker>,
}

/// What became of a stream.
pub(super) enum End {
    /// All answers have been sent. They use this memory, if they are kept.
    Sent { bytes: usize },
    /// The agent has not started, so the request may be repeated.
    Unstarted,
    /// The reader has left before the end.
    Left,
}

impl Default for State {
    fn default() -> Self {
        Self {
            answers: None,
            place: None,
            sent: Some(Vec::new()),
            bytes: 0,
            has_ended: false,
            reader: 0,
            waker: None,
        }
    }
}

impl KeptStream {
    /// Sets the stream of the agent, unless its readers have given it up.
    fn start(&self, answers: BoxStream<'static, Body>, place: Option<Place>) {
        let waker = {
            let mut state = self.0.lock();
            if state.has_ended {
                return;
            }
            state.answers = Some(answers);
            state.place = place;
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Returns the place of the request when the stream has ended.
    pub(super) fn take_place(&self) -> Option<Place> {
        self.0.lock().place.take()
    }

    /// Takes the stream over. The earlier reader gets no more answers.
    ///
    /// # Errors
    ///
    /// Returns an error if too much of the stream has been sent.
    pub(super) fn take_over(&self) -> Result<u64, WireError> {
        let mut state = self.0.lock();
        if state.sent.is_none() {
            return Err(begun());
        }
        state.reader += 1;
        let (reader, waker) = (state.reader, state.waker.take());
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Ok(reader)
    }

    /// Returns whether a repeated request could take over what `reader` has left.
    pub(super) fn waits_for_repetition(&self, reader: u64) -> bool {
        let state = self.0.lock();
        state.reader == reader && !state.has_ended && state.sent.is_some()
    }

    /// Drops the stream of the agent, unless another reader has taken it over. Returns the place of
    /// the request if the stream was dropped.
    pub(super) fn give_up(&self, reader: u64) -> Option<Place> {
        let mut state = self.0.lock();
        if state.reader != reader || state.has_ended {
            return None;
        }
        state.has_ended = true;
        state.sent = None;
        let (answers, place) = (state.answers.take(), state.place.take());
        drop(state);
        drop(answers);
        place
    }
}

/// A stream from its admission until the service has started it. A repetition may take it over
/// before. If the start fails or panics, the key is free again, and the repetition gets the error.
pub(super) struct Starting {
    stream: Arc<KeptStream>,
    place: Option<Place>,
    error: Option<WireError>,
}

impl Starting {
    pub(super) fn new(stream: Arc<KeptStream>, place: Place) -> Self {
        Self {
            stream,
            place: Some(place),
            error: None,
        }
    }

    /// Sets the stream of the agent.
    pub(super) fn started(mut self, answers: BoxStream<'static, Body>) -> Arc<KeptStream> {
        self.stream.start(answers, self.place.take());
        Arc::clone(&self.stream)
    }

    pub(super) fn failed(mut self, error: WireError) {
        self.error = Some(error);
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            drop(place);
            let error = self.error.take().unwrap_or_else(without_outcome);
            let only = std::future::ready(Body::Error(error));
            self.stream.start(stream::once(only).boxed(), None);
        }
    }
}

/// The answers of a stream for one request. Calls `ended` once, when the stream ends or the reader
/// is dropped.
pub(super) struct Reader<F: FnOnce(End)> {
    stream: Arc<KeptStream>,
    number: u64,
    /// The number of answers that this reader has got.
    position: usize,
    ended: Option<F>,
}

impl<F: FnOnce(End)> Reader<F> {
    pub(super) fn new(stream: Arc<KeptStream>, number: u64, ended: F) -> Self {
        Self {
            stream,
            number,
            position: 0,
            ended: Some(ended),
        }
    }

    fn end(&mut self, end: End) {
        if let Some(ended) = self.ended.take() {
            ended(end);
        }
    }

    /// Returns the next answer, and whether it is the first time that it is sent.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<(Body, Option<End>)> {
        let mut state = self.stream.0.lock();
        if state.reader != self.number {
            return Poll::Ready((Body::Error(taken_over()), None));
        }
        let sent = state.sent.as_ref().and_then(|sent| sent.get(self.position));
        if let Some(body) = sent {
            return Poll::Ready((body.clone(), None));
        }
        let Some(answers) = &mut state.answers else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let polled = answers.poll_next_unpin(cx);
        if polled.is_pending() {
            state.waker = Some(cx.waker().clone());
        }
        // A stream of a service always ends with an end or an error.
        let body = ready!(polled).unwrap_or(Body::StreamEnd);
        let is_last = body.kind() != EnvelopeType::StreamChunk;
        let is_first = state.sent.as_ref().is_some_and(Vec::is_empty);
        state.keep(&body);
        let mut finished = None;
        let end = is_last.then(|| {
            state.has_ended = true;
            finished = state.answers.take();
            if is_first && is_unstarted(&body) {
                End::Unstarted
            } else {
                End::Sent { bytes: state.bytes }
            }
        });
        drop(state);
        drop(finished);
        Poll::Ready((body, end))
    }
}

impl State {
    /// Keeps an answer for a repeated request, as long as the answers are few.
    fn keep(&mut self, body: &Body) {
        let Some(sent) = &mut self.sent else {
            return;
        };
        let bytes = approximate_memory(body, MAX_BYTES) + size_of::<Body>();
        if self.bytes + bytes > MAX_BYTES {
            self.sent = None;
            self.bytes = 0;
            return;
        }
        self.bytes += bytes;
        sent.push(body.clone());
    }
}

impl<F: FnOnce(End) + Unpin> Stream for Reader<F> {
    type Item = Body;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Body>> {
        if self.ended.is_none() {
            return Poll::Ready(None);
        }
        let (body, end) = ready!(self.poll_answer(cx));
        self.position += 1;
        match end {
            Some(end) => self.end(end),
            // The end of a stream that is repeated, or that another reader has.
            None if body.kind() != EnvelopeType::StreamChunk => self.ended = None,
            None => {}
        }
        let is_repeated = self.number > 0 && self.position == 1;
        Poll::Ready(Some(if is_repeated { marked(body) } else { body }))
    }
}

impl<F: FnOnce(End)> Drop for Reader<F> {
    fn drop(&mut self) {
        self.end(End::Left);
    }
}

fn begun() -> WireError {
    refusal("The stream with this idempotency key has already been sent")
}

fn taken_over() -> WireError {
    refusal("A repetition of the request has taken over the stream")
}

fn refusal(text: &str) -> WireError {
    WireError::new(ErrorCode::INVALID_MESSAGE, text)
        .with_details(Map::from([("reason", "idempotency_key")]))
}

/// The memory of the answers of one stream that are kept for a repetition.
const MAX_BYTES: usize = 16 * 1024;
