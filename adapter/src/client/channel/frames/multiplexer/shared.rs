//! The state that the callers and the driver of one shared connection share.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use agentwire_codec::{Body, DecodeError, FrameError, RequestId};
use agentwire_transport::internal::Mutex;
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;

use super::{
    in_flight::{InFlightTable, Written},
    permit::InFlightPermit,
};
use crate::{
    client::channel::{failure::Failure, frame::Frame},
    connection::WriteBuffer,
};

/// The calls in flight on one connection. The lock is held only briefly.
#[derive(Debug, Default)]
pub(super) struct Shared {
    table: Mutex<InFlightTable<Waiter>>,
    /// Whether the connection takes no more calls.
    ///
    /// Written under the lock of `table`, so that no call is added afterwards. Read without it only
    /// to choose a connection, where a stale value costs one more try.
    retired: AtomicBool,
    /// Wakes the driver when there is something to write.
    driver: AtomicWaker,
}

/// A call that waits for its answer.
#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Answer>,
    _permit: InFlightPermit,
}

/// The result of a call on a shared connection.
pub(super) type Answer = Result<Body, Failure>;

/// The receiving end of a call that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) answer: oneshot::Receiver<Answer>,
    /// How many answers had arrived on the connection when the call was sent.
    pub(super) received_before: u64,
}

impl Shared {
    /// Queues a frame, to be answered under its id. Returns `None` if the connection has ended, in
    /// which case nothing was sent.
    pub(super) fn send(
        &self,
        id: &RequestId,
        frame: &Frame,
        permit: InFlightPermit,
    ) -> Option<Sent> {
        let (sender, answer) = oneshot::channel();
        let received_before = {
            let mut table = self.table.lock();
            if self.is_retired() {
                return None;
            }
            let waiter = Waiter {
                answer: sender,
                _permit: permit,
            };
            table.insert(id, frame, waiter);
            table.received()
        };
        self.driver.wake();
        Some(Sent {
            answer,
            received_before,
        })
    }

    /// Cancels a call. A late answer to it is discarded.
    pub(super) fn cancel(&self, id: &RequestId) {
        let is_empty = {
            let mut table = self.table.lock();
            table.cancel(id);
            table.is_empty()
        };
        // The driver has to notice that the connection is idle, or done.
        if is_empty {
            self.driver.wake();
        }
    }

    /// Stops accepting calls if no answer has arrived since a timed-out call was sent, because the
    /// connection may be dead.
    pub(super) fn retire_if_silent_since(&self, received_before: u64) {
        let table = self.table.lock();
        if table.received() == received_before {
            self.retire();
        }
    }

    /// Returns whether the connection takes no more calls.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// Registers the driver to be woken. The driver calls this before it looks for frames, so that
    /// it misses none that are queued afterwards.
    pub(super) fn register_driver(&self, waker: &std::task::Waker) {
        self.driver.register(waker);
    }

    /// Takes queued frames: appends the small ones to `buffer`, and returns the first large one.
    pub(super) fn take_frames(&self, buffer: &mut WriteBuffer) -> Option<Bytes> {
        // Dropping a permit under the lock wakes its next owner, and runs nothing.
        self.table.lock().take_frames(buffer)
    }

    /// Returns how many calls wait for an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.table.lock().len()
    }

    /// Returns whether no call waits and none can be added.
    pub(super) fn is_done(&self) -> bool {
        let table = self.table.lock();
        self.is_retired() && table.is_empty()
    }

    /// Stops accepting calls if none waits now. Returns whether it did.
    pub(super) fn retire_if_idle(&self) -> bool {
        let table = self.table.lock();
        let is_idle = table.is_empty();
        if is_idle {
            self.retire();
        }
        is_idle
    }

    /// Delivers an answer to the call that waits for it.
    pub(super) fn deliver(&self, id: &RequestId, body: Body) {
        let waiter = self.table.lock().complete(id, &body);
        match waiter {
            // Sending fails if the call has just been dropped.
            Some(waiter) => drop(waiter.answer.send(Ok(body))),
            None => tracing::debug!(%id, "discarding an answer that no call waits for"),
        }
    }

    /// Fails the call of a malformed answer, if the id of the answer can be decoded.
    pub(super) fn deliver_fault(&self, error: DecodeError) {
        let waiter = error.id().and_then(|id| self.table.lock().remove(id));
        match waiter {
            Some(waiter) => drop(waiter.answer.send(Err(Failure::Protocol(error.into())))),
            None => tracing::debug!(%error, "discarding a malformed answer without an id"),
        }
    }

    /// Stops accepting calls, and fails those that wait.
    pub(super) fn end(&self, error: Option<&FrameError>, written: Written) {
        let table = {
            let mut table = self.table.lock();
            self.retire();
            std::mem::take(&mut *table)
        };
        for (waiter, was_written) in table.fail_all(written) {
            let failure = if was_written {
                Failure::Broken(error.map(copy))
            } else {
                Failure::Unsent(io::ErrorKind::BrokenPipe.into())
            };
            // Sending fails if the call has just been dropped.
            drop(waiter.answer.send(Err(failure)));
        }
    }
}

/// Copies the error of a connection, so that each call on it gets one.
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
