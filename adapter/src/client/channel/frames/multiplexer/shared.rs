//! The state shared by the callers and the driver of one connection.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use agentwire_codec::{Body, DecodeError, FrameError, RequestId};
use agentwire_transport::{
    TlsError,
    internal::{Chain, Mutex},
};
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
    error::is_unstarted,
};

/// The calls in flight on one connection. The lock is never held across an await.
#[derive(Debug, Default)]
pub(super) struct Shared {
    table: Mutex<InFlightTable<Waiter>>,
    /// Whether the connection accepts no more calls.
    ///
    /// The flag is set under the lock of `table`, so that no call is added afterwards. The
    /// multiplexer reads the flag without the lock. A stale value only costs an extra attempt.
    retired: AtomicBool,
    /// Wakes the driver when a frame is queued or the connection becomes idle.
    driver: AtomicWaker,
}

/// A call that is waiting for its answer.
#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Answer>,
    _permit: InFlightPermit,
}

/// The result of a call on a shared connection.
pub(super) type Answer = Result<Body, Failure>;

/// A sent call, with the receiver of its answer.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) answer: oneshot::Receiver<Answer>,
    /// The number of answers that had arrived on the connection when the call was sent.
    pub(super) received_before: u64,
}

impl Shared {
    /// Queues the frame of a request. Returns `None` without sending anything if the connection
    /// accepts no more calls.
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

    /// Cancels a call. A late answer to a cancelled call is discarded.
    pub(super) fn cancel(&self, id: &RequestId) {
        let is_empty = {
            let mut table = self.table.lock();
            table.cancel(id);
            table.is_empty()
        };
        // Wake the driver so that it notices that the connection is idle.
        if is_empty {
            self.driver.wake();
        }
    }

    /// Stops accepting calls if no answer has arrived since the call was sent, because the
    /// connection may be dead. Returns whether the connection has stopped accepting calls.
    pub(super) fn retire_if_silent_since(&self, received_before: u64) -> bool {
        let table = self.table.lock();
        let is_silent = table.received() == received_before;
        if is_silent {
            self.retire();
        }
        is_silent
    }

    /// Returns whether the connection accepts no more calls.
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    fn retire(&self) {
        self.retired.store(true, Relaxed);
    }

    /// Registers the waker of the driver. The driver registers its waker before it takes frames, so
    /// that frames queued later wake the driver.
    pub(super) fn register_driver(&self, waker: &std::task::Waker) {
        self.driver.register(waker);
    }

    /// Takes queued frames for writing. All small frames are appended to `buffer`, and the first
    /// large frame is returned.
    pub(super) fn take_frames(&self, buffer: &mut WriteBuffer) -> Option<Bytes> {
        // Dropping permits under the lock is safe, because it only wakes the next waiter.
        self.table.lock().take_frames(buffer)
    }

    /// Returns the number of calls that are waiting for an answer.
    pub(super) fn in_flight(&self) -> usize {
        self.table.lock().len()
    }

    /// Returns whether the connection accepts no more calls and all of its calls have ended.
    pub(super) fn is_done(&self) -> bool {
        let table = self.table.lock();
        self.is_retired() && table.is_empty()
    }

    /// Stops accepting calls if the connection is idle. Returns whether the connection was idle.
    pub(super) fn retire_if_idle(&self) -> bool {
        let table = self.table.lock();
        let is_idle = table.is_empty();
        if is_idle {
            self.retire();
        }
        is_idle
    }

    /// Delivers an answer to the waiting call.
    pub(super) fn deliver(&self, id: &RequestId, body: Body) {
        let waiter = {
            let mut table = self.table.lock();
            // The server may be about to close the connection.
            if matches!(&body, Body::Error(error) if is_unstarted(error)) {
                self.retire();
            }
            table.complete(id, &body)
        };
        match waiter {
            // Sending fails only if the call has just been dropped.
            Some(waiter) => drop(waiter.answer.send(Ok(body))),
            None => tracing::debug!(%id, "discarding an answer that no call waits for"),
        }
    }

    /// Fails the call whose answer is malformed, if the id of the answer can be decoded.
    pub(super) fn deliver_fault(&self, error: DecodeError) {
        let waiter = error.id().and_then(|id| self.table.lock().remove(id));
        match waiter {
            Some(waiter) => drop(waiter.answer.send(Err(Failure::Protocol(error.into())))),
            None => tracing::debug!(%error, "discarding a malformed answer without an id"),
        }
    }

    /// Stops accepting calls, and fails all waiting calls.
    pub(super) fn end(&self, error: Option<&FrameError>, written: Written) {
        let table = {
            let mut table = self.table.lock();
            self.retire();
            std::mem::take(&mut *table)
        };
        let is_first = table.received() == 0;
        for (waiter, was_written) in table.fail_all(written) {
            let failure = if was_written {
                Failure::Broken(error.map(|error| copy(error, is_first)))
            } else {
                Failure::Unsent(match error {
                    Some(FrameError::Io(error)) => copy_io(error, is_first),
                    _ => io::ErrorKind::BrokenPipe.into(),
                })
            };
            // Sending fails only if the call has just been dropped.
            drop(waiter.answer.send(Err(failure)));
        }
    }
}

/// Copies the error of a connection, so that each of its calls can return the error.
fn copy(error: &FrameError, is_first: bool) -> FrameError {
    match error {
        FrameError::TooLarge { len, max } => FrameError::TooLarge {
            len: *len,
            max: *max,
        },
        FrameError::ForeignProtocol { protocol, len, max } => FrameError::ForeignProtocol {
            protocol: *protocol,
            len: *len,
            max: *max,
        },
        FrameError::Truncated { have, want } => FrameError::Truncated {
            have: *have,
            want: *want,
        },
        FrameError::Io(error) => copy_io(error, is_first).into(),
        other => io::Error::other(other.to_string()).into(),
    }
}

/// Copies an I/O error. The copy of an operating system error has the same code. If `is_first` is
/// true, no answer has arrived, and the copy of an error of TLS has the same reason. For any other
/// error, only the kind and the text are copied.
fn copy_io(error: &io::Error, is_first: bool) -> io::Error {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(tls) = tls.filter(|_| is_first) {
        return io::Error::new(error.kind(), TlsError::clone(tls));
    }
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), Chain(error).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_a_system_error_keeps_its_code() {
        // ECONNRESET on Linux. Any other code would do.
        let error = FrameError::Io(io::Error::from_raw_os_error(104));
        let FrameError::Io(copied) = copy(&error, true) else {
            panic!("not an I/O error");
        };
        assert_eq!(copied.raw_os_error(), Some(104));
        let error = io::Error::new(io::ErrorKind::TimedOut, "no progress");
        let copied = copy_io(&error, true);
        assert_eq!(
            (copied.kind(), copied.to_string()),
            (error.kind(), error.to_string())
        );
    }
}
