use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use agentwire_codec::{Body, DecodeError, FrameError, FrameLimits, RequestId};
use agentwire_transport::{Connection, internal::Mutex};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::{sync::oneshot, task::AbortHandle};

use super::{Place, Right, Seat, driver::Driver};
use crate::{
    client::{attempt::Failure, counters::Counters, frame::Frame},
    connection::FramedConnection,
    connection::WriteBuffer,
};

/// A connection that many calls share, and the task that reads and writes it.
///
/// Dropping it ends the task and closes the connection.
#[derive(Debug)]
pub(in crate::client) struct MuxConnection {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

/// What the callers and the driver of one connection share. The lock is held for moments only.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// No more calls go over this connection. It is set with the lock held, and read without it by those who
    /// choose a connection.
    retired: AtomicBool,
    /// Wakes the driver when there is something to write.
    pub(super) driver: AtomicWaker,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Small frames, one behind the other, so that those of many callers leave in one write.
    small: Vec<u8>,
    /// Large frames, which are not copied.
    large: VecDeque<Bytes>,
    small_count: Count,
    large_count: Count,
    /// Who waits for which answer.
    pending: HashMap<RequestId, Waiting>,
    /// Calls that were given up with their frames still in line. They keep their seats until these have left,
    /// or a peer that does not read would make the line grow without end.
    abandoned: Vec<(Number, Right)>,
    /// How many answers have come.
    received: u64,
    /// A call was given up, and its answer may still come.
    given_up: bool,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Answer>,
    number: Number,
    right: Right,
}

/// How much has been put in line, and how much of it has been taken to be written: bytes of small frames, or large
/// frames.
#[derive(Debug, Default)]
struct Count {
    queued: u64,
    taken: u64,
}

/// The place of a frame in line.
#[derive(Debug, Clone, Copy)]
enum Number {
    /// The byte behind it, of all small ones.
    Small(u64),
    /// Counted from 1.
    Large(u64),
}

/// How much of what was taken has left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Bytes of small frames.
    pub(super) small: u64,
    /// A large frame that was taken has not left, or not as a whole.
    pub(super) is_large_left: bool,
}

pub(super) type Answer = Result<Body, Failure>;

/// A call on its way. Dropping it gives the call up; a late answer is discarded.
#[derive(Debug)]
pub(in crate::client) struct Pending {
    /// Keeps the connection.
    _place: Arc<Place>,
    shared: Arc<Shared>,
    id: RequestId,
    /// How many answers had come when the call was made.
    received: u64,
    answer: oneshot::Receiver<Answer>,
}

impl MuxConnection {
    /// Must be called within a runtime, as everything that connects.
    pub(super) fn start(
        connection: Connection,
        limits: FrameLimits,
        counters: Arc<Counters>,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let link = FramedConnection::new(connection, limits);
        let driver = Driver::new(link, Arc::clone(&shared), counters);
        let task = tokio::spawn(driver.run());
        Self {
            shared,
            driver: task.abort_handle(),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// True if no more calls go over it.
    pub(super) fn is_retired(&self) -> bool {
        self.shared.is_retired()
    }
}

impl Drop for MuxConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Shared {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock()
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    pub(super) fn send(
        self: Arc<Self>,
        seat: Seat,
        id: &RequestId,
        frame: &Frame,
    ) -> Option<Pending> {
        let (sender, answer) = oneshot::channel();
        let received = {
            let mut state = self.state();
            if self.is_retired() {
                return None;
            }
            let waiting = Waiting {
                answer: sender,
                number: state.queue(frame),
                right: seat.right,
            };
            state.pending.insert(id.clone(), waiting);
            state.received
        };
        self.driver.wake();
        Some(Pending {
            _place: seat.place,
            shared: self,
            id: id.clone(),
            received,
            answer,
        })
    }

    /// Takes what is in line: small frames are moved behind what is in `line`, one large one is returned.
    pub(super) fn take_frames(&self, line: &mut WriteBuffer) -> Option<Bytes> {
        let mut state = self.state();
        let state = &mut *state;
        line.append_all(&mut state.small);
        state.small_count.taken = state.small_count.queued;
        let large = state.large.pop_front();
        state.large_count.taken += u64::from(large.is_some());
        let (small_count, large_count) = (&state.small_count, &state.large_count);
        // Dropping a right with the lock held wakes who waits for it, and runs nothing.
        state.abandoned.retain(|(number, _)| match number {
            Number::Small(end) => *end > small_count.taken,
            Number::Large(number) => *number > large_count.taken,
        });
        large
    }

    /// How many calls wait for an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.state().pending.len()
    }

    /// True if nobody waits for anything, and nobody will.
    pub(super) fn is_done(&self) -> bool {
        let state = self.state();
        self.is_retired() && state.pending.is_empty()
    }

    /// Takes no more calls, if there are none now.
    pub(super) fn retire_if_idle(&self) -> bool {
        let state = self.state();
        let idle = state.pending.is_empty();
        if idle {
            self.retire();
        }
        idle
    }

    /// Hands an answer to the call that waits for it.
    pub(super) fn deliver(&self, id: &RequestId, body: Body) {
        let waiting = self.state().take(id, &body);
        match waiting {
            // It may have been given up just now.
            Some(waiting) => drop(waiting.answer.send(Ok(body))),
            None => tracing::debug!(%id, "discarding an answer that nobody waits for"),
        }
    }

    /// Fails the one call that a broken answer is about, if it can be told.
    pub(super) fn deliver_fault(&self, error: DecodeError) {
        let waiting = error.id().and_then(|id| self.state().pending.remove(id));
        match waiting {
            Some(waiting) => drop(waiting.answer.send(Err(Failure::Protocol(error.into())))),
            None => tracing::debug!(%error, "discarding an answer that cannot be read"),
        }
    }

    /// Takes no more calls, and fails those that wait. A frame that has not left as a whole cannot have been seen.
    pub(super) fn end(&self, error: Option<&FrameError>, written: Written) {
        let mut rest = {
            let mut state = self.state();
            self.retire();
            std::mem::take(&mut *state)
        };
        for waiting in std::mem::take(&mut rest.pending).into_values() {
            let has_left = match waiting.number {
                Number::Small(end) => end <= written.small,
                Number::Large(number) => {
                    number + u64::from(written.is_large_left) <= rest.large_count.taken
                }
            };
            let failure = match has_left {
                true => Failure::Broken(error.map(copy)),
                false => Failure::Unsent(io::ErrorKind::BrokenPipe.into()),
            };
            // It may have been given up just now.
            drop(waiting.answer.send(Err(failure)));
        }
    }
}

impl State {
    fn queue(&mut self, frame: &Frame) -> Number {
        match frame {
            Frame::Small(bytes) => {
                self.small.extend_from_slice(bytes);
                self.small_count.queued += bytes.len() as u64;
                Number::Small(self.small_count.queued)
            }
            Frame::Large(bytes) => {
                self.large.push_back(bytes.clone());
                self.large_count.queued += 1;
                Number::Large(self.large_count.queued)
            }
        }
    }

    fn is_taken(&self, number: Number) -> bool {
        match number {
            Number::Small(end) => end <= self.small_count.taken,
            Number::Large(number) => number <= self.large_count.taken,
        }
    }

    fn take(&mut self, id: &RequestId, body: &Body) -> Option<Waiting> {
        self.received += 1;
        if let Some(waiting) = self.pending.remove(id) {
            return Some(waiting);
        }
        // An error without an id of its own is about the one call that there is, if there is only one, and has
        // been no other.
        let stray = matches!(body, Body::Error(_)) && *id == RequestId::unknown();
        if stray && self.pending.len() == 1 && !self.given_up {
            return self.pending.drain().next().map(|(_, waiting)| waiting);
        }
        None
    }
}

impl Pending {
    /// Lets no more calls go over the connection, if nothing has come over it since this one was made: its
    /// time is up, and so may be that of the connection.
    pub(in crate::client) fn timed_out(&self) {
        let state = self.shared.state();
        if state.received == self.received {
            self.shared.retire();
        }
    }
}

impl Future for Pending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        Pin::new(&mut self.answer)
            .poll(cx)
            // The driver was aborted: the client is being dropped while it is called.
            .map(|answer| answer.unwrap_or(Err(Failure::Broken(None))))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let is_done = {
            let mut state = self.shared.state();
            if let Some(waiting) = state.pending.remove(&self.id) {
                state.given_up = true;
                if !state.is_taken(waiting.number) {
                    state.abandoned.push((waiting.number, waiting.right));
                }
            }
            state.pending.is_empty()
        };
        // So that the driver sees that it is idle from now on, or done.
        if is_done {
            self.shared.driver.wake();
        }
    }
}

/// An error of the connection is an error of each call on it.
fn copy(error: &FrameError) -> FrameError {
    match error {
        FrameError::TooLarge { len, max } => FrameError::TooLarge {
            len: *len,
            max: *max,
        },
        FrameError::Truncated { have, want } => FrameError::Truncated {
            have: *have,
            want: *want,
        },
        FrameError::Io(error) => io::Error::new(error.kind(), error.to_string()).into(),
        other => io::Error::other(other.to_string()).into(),
    }
}
